"""Data directories that the embedded PostgreSQL may use, whoever runs the tests."""

import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dalkit.dev.postgres import PostgresError, cluster
from dalkit.dev.programs import find_binaries
from dalkit.dev.project import Project, find_project

from tests.dev.processes import User, is_left_alone
from tests.paths import PROJECT, SERVICE


@pytest.fixture(scope="session", autouse=True)
def _binaries() -> None:
    try:
        find_binaries()
    except PostgresError as error:
        pytest.skip(str(error))


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder that every user can pass through, which pytest's tmp_path is not."""
    path = Path(tempfile.mkdtemp(prefix="dev test é "))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def own_project(folder: Path) -> Project:
    """The service of the tests in a folder of its own: the .env and the data are its own, too."""
    shutil.copy(PROJECT / "pyproject.toml", folder)
    (folder / "tests").mkdir()
    shutil.copytree(SERVICE, folder / "tests" / "service")
    return find_project(folder)


@pytest.fixture(scope="session")
def initialised() -> Iterator[Path]:
    """A data directory in a path with spaces and an accent, made once."""
    path = Path(tempfile.mkdtemp(prefix="dev test é "))
    path.chmod(0o755)
    with cluster(path / "data"):
        pass
    yield path / "data"
    shutil.rmtree(path)


@pytest.fixture
def data_dir(initialised: Path) -> Iterator[Path]:
    """The same, which each test has to leave alone."""
    yield initialised
    assert is_left_alone(initialised)


@pytest.fixture
def use() -> Iterator[type[User]]:
    """Start a User; one whom a failed test forgot is ended."""
    yield User
    while User.active:
        User.active[0].leave(signal.SIGKILL)
