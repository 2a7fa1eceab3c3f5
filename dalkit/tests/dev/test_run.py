"""`make run`: everything is started in order, and nothing outlives it."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from dalkit.dev import run
from dalkit.dev.database import create_database
from dalkit.dev.embedded.server import free_port
from dalkit.dev.postgres import cluster

from tests.dev.processes import PROJECT, eventually, is_left_alone, processes_of, query

pytestmark = pytest.mark.slow

# The project's own data and .env are the developer's.
RUN = """
import os, sys
from pathlib import Path
from dalkit.dev import run
run.DATA_DIR = Path(sys.argv.pop(1))
run.read_environment = lambda: {k: v for k, v in os.environ.items() if k != "DATABASE_URL"}
run.main()
"""

RUN_NOTHING = """
from dalkit.dev import run
SERVER = [*run.PYTHON, "http.server", "--bind", run.HOST]
run.run = lambda port, seed: run.execute([*SERVER, str(port)], {})
run.main()
"""

OLD_PYTHON = "import sys; sys.version_info = (3, 10); import dev"


def start(code: str, *arguments: object, **environment: str) -> subprocess.Popen[str]:
    """Start `code` in the project."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=PROJECT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


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
        run.require_free_port(port)
    except SystemExit:
        return False
    return True


def test_it_migrates_seeds_serves_and_leaves_nothing(folder: Path) -> None:
    port = free_port()
    process = start(RUN, folder / "data", "--port", port, "--seed")
    try:
        assert eventually(lambda: status_of(f"http://127.0.0.1:{port}/readyz") == 200, 60)
    finally:
        process.send_signal(signal.SIGTERM)
        _, error = finish(process)
    assert is_left_alone(folder / "data"), error
    assert status_of(f"http://127.0.0.1:{port}/livez") == 0
    with cluster(folder / "data") as it:
        assert query(it.url(run.PACKAGE), "SELECT count(*) FROM book") == 5


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_what_it_runs(number: signal.Signals) -> None:
    port = free_port()
    process = start(RUN_NOTHING, "--port", port)
    assert eventually(lambda: status_of(f"http://127.0.0.1:{port}/") == 200)
    process.send_signal(number)
    finish(process)
    assert status_of(f"http://127.0.0.1:{port}/") == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
@pytest.mark.parametrize("killed", ["dev.run", "the reloader"])
def test_a_kill_leaves_nothing_on_the_port(killed: str, folder: Path) -> None:
    port = free_port()
    process = start(RUN, folder / "data", "--port", port)
    try:
        assert eventually(lambda: status_of(f"http://127.0.0.1:{port}/readyz") == 200, 60)
        [reloader] = processes_of(f"dev.serve {port}")
        os.kill(process.pid if killed == "dev.run" else reloader, signal.SIGKILL)
        assert eventually(lambda: is_free(port))
    finally:
        process.terminate()
        finish(process)
    assert eventually(lambda: is_left_alone(folder / "data"))


def test_a_taken_port_is_one_sentence_before_anything_is_started(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, error = finish(start(RUN, folder / "data", "--port", port))
    assert status == 1
    assert error.startswith(f"Port {port} cannot be used (Address already in use): choose another")
    assert error.count("\n") == 1
    assert not list(folder.iterdir())


def test_no_postgres_is_one_sentence(folder: Path) -> None:
    process = start(RUN, folder / "data", "--port", free_port(), PG_BIN_DIR=str(folder))
    status, error = finish(process)
    assert status == 1
    assert error == f"PG_BIN_DIR={folder} does not contain initdb and postgres.\n"


def test_an_old_python_is_one_sentence() -> None:
    status, error = finish(start(OLD_PYTHON))
    assert status == 1
    assert error.startswith("Python 3.11 or newer is needed, this is Python ")


def test_a_configured_database_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """From the environment or .env, in this order."""
    (tmp_path / ".env").write_text("DATABASE_URL=postgresql://file\nONLY_HERE=1\n")
    monkeypatch.setattr(run, "PROJECT", tmp_path)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    assert run.read_environment()["DATABASE_URL"] == "postgresql://file"
    monkeypatch.setenv("DATABASE_URL", "postgresql://process")
    environment = run.read_environment()
    assert environment["DATABASE_URL"] == "postgresql://process"
    assert environment["ONLY_HERE"] == "1"
    with run.database(environment) as added:
        assert added == {}


def test_the_database_is_created_once(data_dir: Path) -> None:
    with cluster(data_dir) as it:
        for _ in range(2):
            create_database(it.url("postgres"), "with-a-dash")
        assert query(it.url("with-a-dash")) == "answered"
        query(it.url("postgres"), 'DROP DATABASE "with-a-dash"')
