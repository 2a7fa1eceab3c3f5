"""A command on the database of `make run`, and its end."""

import sys

import pytest

from dalkit.cli import main
from dalkit.dev.postgres import cluster
from dalkit.dev.project import Project
from dalkit.dev.run import PYTHON, exit_with, reset, run_with_database

from tests.dev.processes import is_left_alone, query

pytestmark = pytest.mark.slow

CLI = (*PYTHON, "tests.service.cli", "db")


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch, own_project: Project) -> Project:
    """A data directory of its own, and nothing configured."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    return own_project


def test_the_database_is_made_and_kept(project: Project, capfd: pytest.CaptureFixture[str]) -> None:
    """Migrations run on it, and the standard output is the command's alone."""
    assert run_with_database(project, [*CLI, "sync"]) == 0
    assert is_left_alone(project.data_dir)
    assert f"starting, with its data in {project.data_dir}" in capfd.readouterr().err
    assert run_with_database(project, [*CLI, "status"]) == 0
    assert "PostgreSQL" not in capfd.readouterr().out
    with cluster(project.data_dir) as it:
        assert query(it.url(project.database), "SELECT count(*) FROM book") == 0


def test_it_shares_the_server_of_a_run(project: Project, capfd: pytest.CaptureFixture[str]) -> None:
    code = "import os; print(os.environ['DATABASE_URL'])"
    with cluster(project.data_dir) as it:
        assert run_with_database(project, [sys.executable, "-c", code]) == 0
        told = capfd.readouterr()
        assert told.out == f"{it.url(project.database)}\n"
        assert "starting" not in told.err


def test_a_configured_database_is_the_commands(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://mine")
    code = "import os, sys; sys.exit(os.environ['DATABASE_URL'] == 'postgresql://mine' and 7)"
    assert run_with_database(project, [sys.executable, "-c", code]) == 7
    assert not project.data_dir.exists()


def test_a_command_that_does_not_exist(
    project: Project, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://mine")
    assert run_with_database(project, ["no-such-command"]) == 127
    assert capfd.readouterr().err == "no-such-command: No such file or directory\n"


def test_the_console_script_gives_the_command_its_options(
    project: Project, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://mine")
    monkeypatch.chdir(project.folder)
    with pytest.raises(SystemExit) as end:
        main(["with-database", sys.executable, "-c", "import sys; print(sys.argv[1:])", "--help"])
    assert (end.value.code, capfd.readouterr().out) == (0, "['--help']\n")


def test_the_database_is_thrown_away(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    ends = "; the next `make run` begins with an empty one.\n"
    assert reset(project) == 0
    assert capsys.readouterr().out == f"The database of `make run` was not there{ends}"
    with cluster(project.data_dir) as it:
        query(it.url("postgres"), "CREATE TABLE kept AS SELECT 1")
    assert reset(project) == 0
    assert capsys.readouterr().out == f"The database of `make run` is gone{ends}"
    assert not project.data_dir.exists()
    with cluster(project.data_dir) as it:
        assert query(it.url("postgres"), "SELECT to_regclass('kept')") is None


def test_a_database_in_use_is_not(project: Project) -> None:
    with cluster(project.data_dir) as it:
        with pytest.raises(SystemExit, match="is in use: stop `make run` first"):
            exit_with(lambda: reset(project))
        assert query(it.url("postgres")) == "answered"


def test_a_configured_database_is_not(project: Project) -> None:
    (project.folder / ".env").write_text("DATABASE_URL=postgresql://mine\n")
    project.data_dir.mkdir(parents=True)
    with pytest.raises(SystemExit, match="DATABASE_URL is set, and that database is not thrown"):
        reset(project)
    assert project.data_dir.exists()
