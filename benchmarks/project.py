"""The generated service, with the table and the resource `item` added to it."""

import importlib
import shutil
import sys
from pathlib import Path
from typing import Any

from alembic.script import ScriptDirectory
from cookiecutter.main import cookiecutter

from .errors import BenchmarkError

ROOT = Path(__file__).resolve().parents[1]
RESOURCE = Path(__file__).with_name("resource")
IGNORED = shutil.ignore_patterns(".*", "__pycache__", "dist")
#: The generated app.py is edited as a developer would: a line is added after each of these.
IMPORTED = "from . import authors, books, health"
ENTITIES = "ENTITIES = (authors.Author, books.Book, books.BookQuery"
MOUNTED = '    app.include_router(authors.writes, prefix="/v1", dependencies=writes)\n'
OPEN = """\
    app.include_router(items.reads, prefix="/v1")
    app.include_router(items.writes, prefix="/v1")
"""
GUARDED = """\
    app.include_router(items.reads, prefix="/v1", dependencies=[require("read:items")])
    app.include_router(items.writes, prefix="/v1", dependencies=[require("write:items")])
"""


class Project:
    """A rendered service in `folder`; `package` is the import name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        found = [path.parent.name for path in sorted(folder.glob("src/*/app.py"))]
        if len(found) != 1:
            raise BenchmarkError(f"{folder.name} is not a generated service: no src/*/app.py.")
        self.package = found[0]

    def copy(self, folder: Path) -> "Project":
        """Return a copy without environments and caches."""
        shutil.copytree(self.folder, folder, ignore=IGNORED, dirs_exist_ok=True)
        return Project(folder)

    def add_items(self, *, guarded: bool) -> None:
        """Add the migration, the resource and its lines in app.py; `guarded` asks for a token."""
        source = self.folder / "src" / self.package
        shutil.copytree(RESOURCE / "items", source / "items", ignore=IGNORED)
        migrations = self.folder / "migrations"
        head = ScriptDirectory(str(migrations)).get_current_head()
        revision = (RESOURCE / "item_table.py").read_text().replace('"0001"', f'"{head}"')
        (migrations / "versions" / "item_table.py").write_text(revision)
        self._edit(source / "app.py", GUARDED if guarded else OPEN)
        self._register()

    def _edit(self, file: Path, mounting: str) -> None:
        text = file.read_text()
        for anchor, added in (
            (IMPORTED, ", items"),
            (ENTITIES, ", items.Item, items.ItemQuery"),
            (MOUNTED, mounting),
        ):
            if anchor not in text:
                raise BenchmarkError(f"app.py has no line {anchor.strip()!r}: edit project.py.")
            text = text.replace(anchor, anchor + added)
        file.write_text(text)

    def _register(self) -> None:
        """Let the service read its name and version although nobody installed it."""
        name = self.package.replace("_", "-")
        about = self.folder / "src" / f"{self.package}-0.1.0.dist-info" / "METADATA"
        about.parent.mkdir(exist_ok=True)
        about.write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\nSummary: A service\n"
        )

    @property
    def python_path(self) -> str:
        """What PYTHONPATH needs to run the service and this harness."""
        return f"{self.folder / 'src'}:{self.folder}:{ROOT}"

    def tool(self, name: str) -> Any:
        """Return a module of the service's own dev/, such as `postgres`."""
        if str(self.folder) not in sys.path:
            sys.path.insert(0, str(self.folder))
        return importlib.import_module(f"dev.{name}")


def render(folder: Path) -> Project:
    """Return the service of the default answers, rendered into `folder`."""
    folder.mkdir(parents=True)
    path = cookiecutter(
        str(ROOT),
        no_input=True,
        output_dir=str(folder),
        default_config={"replay_dir": str(folder / "replay")},
    )
    return Project(Path(path))
