"""`dalkit run`: everything is started in order, and nothing outlives it."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from dalkit.dev.postgres import cluster
from dalkit.dev.project import Project
from dalkit.dev.run import (
    create_database,
    database,
    gate,
    pass_gate,
    read_seed,
    require_free_port,
    run_sql,
    shown_database,
)
from dalkit.dev.supervisor import free_port

from tests.dev.processes import eventually, is_left_alone, processes_of, query

pytestmark = pytest.mark.slow

COMMAND = [str(Path(sys.executable).with_name("dalkit")), "run"]

CURL = "curl -s -w '\\n%{http_code}'"

RUN_NOTHING = """
from dalkit.dev import run
SERVER = [*run.PYTHON, "http.server", "--bind", run.HOST]
run.run = lambda project, port, seed: run.execute(project, [*SERVER, str(port)], {})
from dalkit.cli import main
main()
"""

OLD_PYTHON = "import sys; sys.version_info = (3, 10); import dalkit"


def start(
    command: list[str], folder: Path, *, start_new_session: bool = False, **environment: str
) -> subprocess.Popen[str]:
    """Start a command in `folder`, without the developer's database and issuer."""
    foreign = ("DATABASE_URL", "AUTH0_")
    outside = {name: it for name, it in os.environ.items() if not name.startswith(foreign)}
    return subprocess.Popen(
        command,
        cwd=folder,
        env=outside | environment,
        start_new_session=start_new_session,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def start_run(project: Project, port: int, *options: str, **other: Any) -> subprocess.Popen[str]:
    """Start `dalkit run` in the folder of a project."""
    return start([*COMMAND, "--port", str(port), *options], project.folder, **other)


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Return the exit status and what was written to stderr."""
    error = process.communicate(timeout=30)[1]
    return process.returncode, error


def status_of(url: str) -> int:
    """Return the status of the answer, 0 when there is none."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return int(response.status)
    except OSError:
        return 0


def is_free(port: int) -> bool:
    """Return whether a service can be started on `port`."""
    try:
        require_free_port(port)
    except SystemExit:
        return False
    return True


@pytest.mark.skipif(not shutil.which("curl"), reason="no curl to type the printed call into")
def test_it_migrates_seeds_serves_says_where_and_leaves_nothing(own_project: Project) -> None:
    """What it prints works as it is: the address, and a call with a token; Ctrl-C ends it."""
    port = free_port()
    path = f"{COMMAND[0].rpartition('/')[0]}:{os.environ['PATH']}"
    process = start_run(own_project, port, "--seed", start_new_session=True)
    printed: dict[str, str] = {}
    output: list[str] = []
    try:
        assert process.stdout is not None
        while "database" not in printed:
            output.append(process.stdout.readline())
            assert output[-1], "".join(output)
            if said := re.fullmatch(r"  (service|a token|a call|database) +(.*)\n", output[-1]):
                printed[said[1]] = said[2]
        assert status_of(printed["service"].split()[0]) == 200
        call = printed["a call"].replace("/v1/library/export", "/v1/books").replace("curl", CURL)
        called = subprocess.run(
            ["sh", "-c", call],
            cwd=own_project.folder,
            env=os.environ | {"PATH": path},
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        output.append(process.communicate(timeout=30)[0])
    assert "A Wizard of Earthsea" in called.stdout
    assert called.stdout.endswith("\n200")
    stopping = [json.loads(line) for line in output[-1].splitlines() if line.startswith("{")]
    assert [line for line in stopping if line["level"] != "info"] == []
    assert is_left_alone(own_project.data_dir)
    assert status_of(f"http://127.0.0.1:{port}/livez") == 0
    with cluster(own_project.data_dir) as it:
        url = it.url(own_project.database)
        run_sql(url, read_seed(own_project))  # again, as the next `make run` does
        assert query(url, "SELECT count(*) FROM book") == 5


def test_the_service_starts_after_the_migrations(own_project: Project) -> None:
    """It has imported the app by then; an app that cannot be imported is uvicorn's to tell of."""
    sys.modules.pop("this", None)
    with gate(own_project, 1) as path:
        waiting = [Thread(target=pass_gate, args=(app, path)) for app in ("this:app", "no.app:app")]
        for thread in waiting:
            thread.start()
        assert eventually(lambda: "this" in sys.modules)
        for thread in waiting:
            thread.join(0.2)
            assert thread.is_alive()
    for thread in waiting:
        thread.join(30)
        assert not thread.is_alive()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_what_it_runs(number: signal.Signals, own_project: Project) -> None:
    port = free_port()
    command = [sys.executable, "-c", RUN_NOTHING, "run", "--port", str(port)]
    process = start(command, own_project.folder)
    assert eventually(lambda: status_of(f"http://127.0.0.1:{port}/") == 200)
    process.send_signal(number)
    finish(process)
    assert status_of(f"http://127.0.0.1:{port}/") == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
@pytest.mark.parametrize("killed", ["dalkit run", "the reloader"])
def test_a_kill_leaves_nothing_on_the_port(killed: str, own_project: Project) -> None:
    port = free_port()
    process = start_run(own_project, port)
    try:
        assert eventually(lambda: status_of(f"http://127.0.0.1:{port}/readyz") == 200, 60)
        [reloader] = processes_of(f"dalkit.dev.run tests.service.main:app {port}")
        os.kill(process.pid if killed == "dalkit run" else reloader, signal.SIGKILL)
        assert eventually(lambda: is_free(port))
    finally:
        process.terminate()
        finish(process)
    assert eventually(lambda: is_left_alone(own_project.data_dir))


def test_a_database_that_ends_ends_the_run_and_says_so(own_project: Project) -> None:
    """The service could only answer 503 from then on, and nobody would know why."""
    port = free_port()
    process = start_run(own_project, port)
    try:
        assert eventually(lambda: status_of(f"http://127.0.0.1:{port}/readyz") == 200, 60)
        pid = int((own_project.data_dir / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)
        assert "PostgreSQL ended while it was in use:" in finish(process)[1]
    finally:
        process.terminate()
        process.communicate()
    assert is_free(port)


def test_a_bad_setting_is_said_once(own_project: Project) -> None:
    """The migrations say it; the service, which was imported meanwhile, does not start."""
    process = start_run(own_project, free_port(), MAX_BODY_SIZE="much")
    status, error = finish(process)
    assert status == 1
    assert error.count("MAX_BODY_SIZE: ") == 1


def test_a_taken_port_is_one_sentence_before_anything_is_started(own_project: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, error = finish(start_run(own_project, port))
    assert status == 1
    assert error.startswith(f"Port {port} cannot be used (Address already in use): choose another")
    assert error.count("\n") == 1
    assert not own_project.data_dir.parent.exists()


def test_no_postgres_is_one_sentence(own_project: Project) -> None:
    folder = own_project.folder
    status, error = finish(start_run(own_project, free_port(), PG_BIN_DIR=str(folder)))
    assert status == 1
    assert error == f"PG_BIN_DIR={folder} does not contain initdb and postgres.\n"


@pytest.mark.parametrize(
    ("seed", "sentence"),
    [
        ("", "No rows to insert: name a file of SQL as seed in pyproject.toml's [tool.dalkit].\n"),
        ('seed = "no.sql"', "no.sql, cannot be read: No such file or directory.\n"),
    ],
)
def test_no_seed_is_one_sentence_before_anything_is_started(
    own_project: Project, seed: str, sentence: str
) -> None:
    pyproject = own_project.folder / "pyproject.toml"
    pyproject.write_text(f'[tool.dalkit]\npackage = "tests.service"\n{seed}\n')
    status, error = finish(start_run(own_project, free_port(), "--seed"))
    assert (status, error.count("\n")) == (1, 1)
    assert error.endswith(sentence)
    assert not own_project.data_dir.parent.exists()


def test_a_seed_that_is_refused_is_one_sentence(data_dir: Path) -> None:
    with cluster(data_dir) as it, pytest.raises(SystemExit, match=r"^The seed was refused: .*nope"):
        run_sql(it.url("postgres"), "SELECT 1; SELECT nope")


@pytest.mark.parametrize("seed", ["", "-- Rows for `make run SEED=1`.\n", ";\n"])
def test_a_seed_may_have_no_statement(data_dir: Path, seed: str) -> None:
    """As that of a service whose example was deleted."""
    with cluster(data_dir) as it:
        run_sql(it.url("postgres"), seed)


def test_outside_of_a_project_is_one_sentence(folder: Path) -> None:
    status, error = finish(start([*COMMAND], folder))
    assert (status, error.count("\n")) == (1, 1)
    assert error.startswith(f"No pyproject.toml with [tool.dalkit] package in {folder} or above: ")


def test_an_old_python_is_one_sentence(folder: Path) -> None:
    status, error = finish(start([sys.executable, "-c", OLD_PYTHON], folder))
    assert status == 1
    assert error.startswith("Python 3.11 or newer is needed, this is Python ")


def test_a_configured_database_is_used(
    own_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the environment or .env, in this order."""
    (own_project.folder / ".env").write_text("DATABASE_URL=postgresql://file\nONLY_HERE=1\n")
    monkeypatch.delenv("DATABASE_URL", raising=False)
    assert own_project.environment()["DATABASE_URL"] == "postgresql://file"
    monkeypatch.setenv("DATABASE_URL", "postgresql://process")
    environment = own_project.environment()
    assert environment["DATABASE_URL"] == "postgresql://process"
    assert environment["ONLY_HERE"] == "1"
    with database(own_project, environment) as added:
        assert added == {}
    assert shown_database(own_project, environment) == "that of DATABASE_URL"  # no password


def test_the_url_of_the_projects_own_database_is_shown(
    own_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    assert shown_database(own_project, {"DATABASE_URL": "postgresql://own"}) == "postgresql://own"


def test_the_database_is_created_once(data_dir: Path) -> None:
    with cluster(data_dir) as it:
        for _ in range(2):
            create_database(it.url("postgres"), "with-a-dash")
        assert query(it.url("with-a-dash")) == "answered"
        query(it.url("postgres"), 'DROP DATABASE "with-a-dash"')
