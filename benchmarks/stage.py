"""What the groups share: a Postgres of their own, and the service as it is generated."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cookiecutter.main import cookiecutter
from dalkit.dev.postgres import Cluster, cluster

from .database import SETTINGS, create_database, create_items
from .errors import BenchmarkError

ROOT = Path(__file__).resolve().parents[1]
METADATA = "Metadata-Version: 2.1\nName: my-service\nVersion: 0.1.0\nSummary: A service\n"


@dataclass(frozen=True)
class Service:
    """The service of the default answers, in `folder`; it uses the library of this repository."""

    folder: Path

    @property
    def variables(self) -> Mapping[str, str]:
        """What the environment needs to run the service and this harness."""
        return {"PYTHONPATH": f"{self.folder / 'src'}:{ROOT}"}

    def migrate(self, url: str) -> None:
        """Upgrade the database with the service's own command; raises BenchmarkError."""
        done = subprocess.run(
            [sys.executable, "-m", "my_service.cli", "db", "sync"],
            cwd=self.folder,
            env={**os.environ, **self.variables, "DATABASE_URL": url},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise BenchmarkError(f"`db sync` failed:\n{done.stdout}{done.stderr}")


@dataclass(frozen=True)
class Stage:
    """A server, and a folder that is removed at the end."""

    folder: Path
    server: Cluster

    @cached_property
    def service(self) -> Service:
        """The service, rendered when it is first asked for."""
        return self._rendered(self.folder)

    @cached_property
    def plain_service(self) -> Service:
        """The service without Auth0 and Slack: who calls is not asked."""
        return self._rendered(self.folder / "plain", use_auth0=False, use_slack=False)

    def _rendered(self, folder: Path, **answers: bool) -> Service:
        path = cookiecutter(
            str(ROOT),
            no_input=True,
            extra_context=answers,
            output_dir=str(folder),
            default_config={"replay_dir": str(self.folder / "replay")},
        )
        # It reads its name and version, although nobody installed it.
        about = Path(path, "src", "my_service-0.1.0.dist-info", "METADATA")
        about.parent.mkdir()
        about.write_text(METADATA)
        return Service(Path(path))

    def empty_database(self, name: str) -> str:
        """Return the URL of a new database without any table."""
        create_database(self.server.url("postgres"), name)
        return self.server.url(name)

    def database(self, name: str, rows: int = 0) -> str:
        """Return the URL of a new database with `rows` items."""
        url = self.empty_database(name)
        create_items(url, rows)
        return url

    def service_database(self, name: str, rows: int) -> str:
        """Return the URL of a new database with the service's schema and `rows` items."""
        url = self.empty_database(name)
        self.service.migrate(url)
        create_items(url, rows)
        return url


@contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """Yield the stage; everything is in `folder`."""
    with cluster(folder / "data", settings=SETTINGS) as server:
        yield Stage(folder, server)
