"""A command on the database of `make run`."""

import os
import sys
from pathlib import Path

import pytest

from dalkit.dev import run, with_database
from dalkit.dev.postgres import cluster

from tests.dev.processes import is_left_alone, query

pytestmark = pytest.mark.slow

CLI = (*run.PYTHON, f"{run.PACKAGE}.cli", "db")


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    """A data directory of its own, and nothing configured."""
    environment = {name: it for name, it in os.environ.items() if name != "DATABASE_URL"}
    monkeypatch.setattr(run, "read_environment", lambda: dict(environment))
    monkeypatch.setattr(run, "DATA_DIR", folder / "data")
    return folder


def test_the_database_is_made_and_kept(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Migrations run on it, and the standard output is the command's alone."""
    assert with_database.execute([*CLI, "sync"]) == 0
    assert is_left_alone(project / "data")
    capfd.readouterr()
    assert with_database.execute([*CLI, "status"]) == 0
    assert "PostgreSQL" not in capfd.readouterr().out
    with cluster(project / "data") as it:
        assert query(it.url(run.PACKAGE), "SELECT count(*) FROM book") == 0


def test_it_shares_the_server_of_a_run(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code = "import os; print(os.environ['DATABASE_URL'])"
    with cluster(project / "data") as it:
        assert with_database.execute([sys.executable, "-c", code]) == 0
        assert capfd.readouterr().out == f"{it.url(run.PACKAGE)}\n"


def test_a_configured_database_is_the_commands(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "read_environment", lambda: {"DATABASE_URL": "postgresql://mine"})
    code = "import os, sys; sys.exit(os.environ['DATABASE_URL'] == 'postgresql://mine' and 7)"
    assert with_database.execute([sys.executable, "-c", code]) == 7
    assert not (project / "data").exists()


def test_a_command_that_does_not_exist(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "read_environment", lambda: {"DATABASE_URL": "postgresql://mine"})
    assert with_database.execute(["no-such-command"]) == 127
    assert capfd.readouterr().err == "no-such-command: No such file or directory\n"
