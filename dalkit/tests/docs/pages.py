"""The pages of the documentation, and the blocks of code in them."""

import ast
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType

from tests.paths import PROJECT

DOCS = PROJECT / "docs"
PAGES = [PROJECT / "README.md", *sorted(DOCS.rglob("*.md"))]

_FENCE = re.compile(
    r'^(?P<indent> *)```(?P<language>[\w-]*)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^ *```$',
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """A fenced block; `line` is that of its first line of text, from 1."""

    page: Path
    line: int
    language: str
    title: str | None
    text: str

    def compiled(self) -> CodeType:
        """Return the code, with the page's own line numbers; await may stand at the top level."""
        padded = "\n" * (self.line - 1) + self.text
        code: CodeType = compile(padded, str(self.page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        return code


def blocks_of(page: Path) -> Iterator[Block]:
    """Return the fenced blocks of a page, in their order."""
    text = page.read_text("utf-8")
    for match in _FENCE.finditer(text):
        line = text.count("\n", 0, match.start("text")) + 1
        dedented = textwrap.dedent(match["text"])
        yield Block(page, line, match["language"], match["title"], dedented)


def name_of(page: Path) -> str:
    """Return a page's path below the project."""
    return page.relative_to(PROJECT).as_posix()
