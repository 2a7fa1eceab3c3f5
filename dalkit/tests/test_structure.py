"""Which part of the library may import which, as a reader could break it without noticing."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.paths import PROJECT

SRC = PROJECT / "src" / "dalkit"
FILES = sorted(SRC.rglob("*.py"))
#: What the rest stands on: the data layer and what it needs itself.
LOWER = {"data", "errors", "extras", "fast", "paging", "reflection", "schema", "settings", "types"}
#: What only development and tests need: no part of a running service imports it.
TOOLS = {"cli", "commands", "dev", "testing"}


def part_of(file: Path) -> str:
    """Return the part of the library that a file belongs to: the folder, or the module."""
    return file.relative_to(SRC).parts[0].removesuffix(".py")


def imported_parts(file: Path) -> Iterator[str]:
    """The other parts that a file imports from."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            folder = file.parents[node.level - 1].relative_to(SRC)
            names = [node.module] if node.module else [alias.name for alias in node.names]
            for name in names:
                yield (folder / name.replace(".", "/")).parts[0]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SRC)))
def test_a_part_imports_what_is_below_it(file: Path) -> None:
    own, imported = part_of(file), set(imported_parts(file))
    if own in LOWER:
        assert imported <= LOWER | {own}
    elif own not in TOOLS:
        assert not imported & TOOLS


def test_the_parts_are_there() -> None:
    assert {part_of(file) for file in FILES} >= LOWER | TOOLS
