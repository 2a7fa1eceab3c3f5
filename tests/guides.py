"""Follows a guide of the library in a rendered service: writes its files, runs its commands."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .baking import ROOT
from .environments import UV, run

GUIDES = ROOT / "dalkit" / "docs"
_FENCE = re.compile(r'^```([\w-]+)(?: title="([^"]+)")?\n(.*?)^```$', re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """A fenced block of a guide."""

    language: str
    title: str
    text: str


def blocks_of(name: str) -> Iterator[Block]:
    """Return the blocks of a guide, in their order."""
    text = (GUIDES / name).read_text("utf-8")
    return (Block(*match.groups(default="")) for match in _FENCE.finditer(text))


def write(project: Path, block: Block) -> None:
    """Write the file of a block, or make the changes of a diff, whose hunks `@@` separates."""
    path = project / block.title
    if block.language == "diff":
        text = path.read_text("utf-8")
        for hunk in block.text.split("@@\n"):
            old, new = _sides(hunk)
            assert text.count(old) == 1, f"{block.title} has {text.count(old)} of:\n{old}"
            text = text.replace(old, new)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = block.text
    path.write_text(text, "utf-8")


def _sides(hunk: str) -> tuple[str, str]:
    """What a hunk finds, and what it leaves."""
    lines = [(line[:1] or " ", line[1:]) for line in hunk.splitlines(keepends=True)]
    old = "".join(text for sign, text in lines if sign in "- \n")
    return old, "".join(text for sign, text in lines if sign in "+ \n")


def commands_of(block: Block) -> list[str]:
    """Return the commands of a console block, without comments."""
    lines = block.text.splitlines() if block.language == "console" else []
    return [line[2:].partition("  #")[0].strip() for line in lines if line.startswith("$ ")]


def check(project: Path) -> None:
    """What `make check` does, on one Python."""
    for session in ("lint", "types", "toolkit", "openapi", "migrations"):
        run(project, UV, "run", "nox", "--session", session)
    assert " passed" in run(project, UV, "run", "pytest", "-q")
