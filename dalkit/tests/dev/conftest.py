"""Data directories that the embedded PostgreSQL may use, whoever runs the tests."""

import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dalkit.dev.embedded.binaries import find_binaries
from dalkit.dev.postgres import PostgresError, cluster

from tests.dev.processes import User, is_left_alone


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
