"""What the groups share: the service, and a Postgres of their own."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .database import create_item_table, create_migrated, postgres
from .options import Options
from .project import Project, render


@dataclass(frozen=True)
class Stage:
    """The service with the resource `items`, a server, and a folder that is removed at the end.

    `guarded` is the same service, but its items ask for a token.
    """

    folder: Path
    project: Project
    guarded: Project
    server: Any

    def database(self, name: str, rows: int = 0) -> str:
        """Return the URL of a new database with the service's schema and `rows` items."""
        return create_item_table(self.server, rows, name)

    def empty_database(self, name: str) -> str:
        """Return the URL of a new database without any table."""
        self.project.tool("database").create_database(self.server.url("postgres"), name)
        return str(self.server.url(name))


@contextmanager
def stage(options: Options, folder: Path) -> Iterator[Stage]:
    """Yield the service, rendered if none was named, and its server; everything is in `folder`."""
    source = Project(options.project) if options.project else render(folder / "rendered")
    project, guarded = source.copy(folder / "service"), source.copy(folder / "guarded")
    project.add_items(guarded=False)
    guarded.add_items(guarded=True)
    with postgres(project, folder) as server:
        create_migrated(project, server)
        yield Stage(folder, project, guarded, server)
