"""The snippets of the README's "How do I ..." run as they stand, one after the other."""

import ast
import inspect
import re
from pathlib import Path
from types import CodeType

import httpx

from dalkit import DataAccessLayer, TransactionManager
from dalkit.settings import Settings

README = Path(__file__).parents[1] / "README.md"


def snippets() -> list[CodeType]:
    """The Python blocks of the section, compiled so that they may await."""
    section = README.read_text("utf-8").split("## How do I ...", 1)[1].split("\n## ", 1)[0]
    blocks = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    flag = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    return [compile(block, f"README.md: {block[:60]}", "exec", flag) for block in blocks]


async def test_the_snippets_of_the_readme_run(
    db: DataAccessLayer,
    transaction: TransactionManager,
    client: httpx.AsyncClient,
    settings: Settings,
    tmp_path: Path,
) -> None:
    names = {"dal": db, "tx": transaction, "client": client, "settings": settings}
    namespace = names | {"folder": tmp_path, "__name__": "readme"}
    compiled = snippets()
    assert len(compiled) > 10
    for code in compiled:
        result = eval(code, namespace)
        if inspect.iscoroutine(result):
            await result
