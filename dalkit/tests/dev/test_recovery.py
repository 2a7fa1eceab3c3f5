"""What crashed or was left behind does not stand in the way of the next start."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dalkit.dev.postgres import RunFolder, cluster, temporary_cluster

from tests.dev.processes import (
    User,
    eventually,
    is_left_alone,
    processes_of,
    query,
    run_python,
    server_of,
    supervisor_of,
)

pytestmark = pytest.mark.slow

NOBODY = 65_534
NO_PROCESS = 4_194_305  # above Linux's and macOS's largest process id

PORT_RACE = """
import socket, sys
from pathlib import Path
from dalkit.dev import supervisor
taken = socket.create_server(("127.0.0.1", 0))
ports = iter([taken.getsockname()[1], taken.getsockname()[1], supervisor.free_port()])
supervisor.free_port = lambda: next(ports)
process, port = supervisor.start(Path(sys.argv[1]), [])
process.terminate()
process.wait()
print(port == taken.getsockname()[1], len(list(ports)))
"""

ORPHAN = """
import os, sys
from pathlib import Path
from dalkit.dev import programs, supervisor
programs.signal.SIGINT = 0  # 0 means: do not die with your parent
process, port = supervisor.start(Path(sys.argv[1]), [])
print(process.pid, flush=True)
os._exit(0)
"""


ORPHAN_OF_NOBODY = """
import os, sys
from pathlib import Path
from dalkit.dev import programs, supervisor
from dalkit.dev.postgres import RunFolder
data_dir = Path(sys.argv[1])
programs.accounts_for_root = lambda _: [programs.Account(uid=65534, gid=65534)]
programs.signal.SIGINT = 0  # 0 means: do not die with your parent
RunFolder(data_dir).create()
process, port = supervisor.start(data_dir, [])
print(process.pid, flush=True)
os._exit(0)
"""

RECOVER_WITHOUT_PTRACE = """
import ctypes, os, sys
PR_CAPBSET_DROP, CAP_SYS_PTRACE = 24, 19
if not sys.argv[2:]:  # what is dropped is lost with the next program
    ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_SYS_PTRACE)
    os.execv(sys.executable, [*sys.orig_argv, "again"])
from pathlib import Path
from dalkit.dev.postgres import cluster
from tests.dev.processes import query
data_dir = Path(sys.argv[1])
pid = (data_dir / "postmaster.pid").read_text().split()[0]
print(os.access(f"/proc/{pid}/cwd", os.R_OK))
with cluster(data_dir) as it:
    print(query(it.url("postgres")))
"""


def test_a_crashed_server_is_replaced_for_the_next_user(use: type[User], data_dir: Path) -> None:
    """Who used it is told on leaving."""
    first = use(data_dir)
    os.kill(server_of(data_dir), signal.SIGKILL)
    assert eventually(lambda: list(processes_of(data_dir)) == [first.process.pid])
    second = use(data_dir)
    assert query(second.url) == "answered"
    second.leave()
    assert "PostgreSQL ended while it was in use" in first.leave()


def test_a_crashed_temporary_server_keeps_its_log_for_its_user(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with temporary_cluster() as it:
        os.kill(server_of(it.data_dir), signal.SIGKILL)
        assert eventually(lambda: RunFolder(it.data_dir).port() is None)
    assert "PostgreSQL ended with status -9" in capsys.readouterr().err
    assert not it.data_dir.parent.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_the_server_does_not_outlive_its_supervisor(use: type[User], data_dir: Path) -> None:
    user = use(data_dir)
    os.kill(supervisor_of(data_dir), signal.SIGKILL)
    assert eventually(lambda: list(processes_of(data_dir)) == [user.process.pid])
    assert "PostgreSQL ended while it was in use" in user.leave()


def test_a_terminated_supervisor_stops_its_server(use: type[User], data_dir: Path) -> None:
    user = use(data_dir)
    os.kill(supervisor_of(data_dir), signal.SIGTERM)
    assert eventually(lambda: list(processes_of(data_dir)) == [user.process.pid])
    assert not (data_dir / "postmaster.pid").exists()
    user.leave()


@pytest.mark.parametrize("pid", [os.getppid(), NO_PROCESS], ids=["a stranger's", "nobody's"])
def test_a_stale_pid_file_is_ignored(data_dir: Path, pid: int) -> None:
    lines = [pid, data_dir, 1, 5432, "", "127.0.0.1", 1, "ready"]
    (data_dir / "postmaster.pid").write_text("\n".join(map(str, lines)))
    with cluster(data_dir) as it:
        assert query(it.url("postgres")) == "answered"


def test_a_folder_deleted_while_in_use_is_no_error(initialised: Path, folder: Path) -> None:
    shutil.copytree(initialised, folder / "data")
    with cluster(folder / "data"):
        shutil.rmtree(folder / "data.run")
    assert eventually(lambda: is_left_alone(folder / "data"))


def test_a_server_without_a_supervisor_is_ended_first(data_dir: Path) -> None:
    orphan = int(run_python(ORPHAN, data_dir))
    assert str(orphan) in (data_dir / "postmaster.pid").read_text()
    with cluster(data_dir) as it:
        assert query(it.url("postgres")) == "answered"
        assert orphan not in processes_of(data_dir)


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root has the right to lose"
)
def test_so_it_is_where_root_may_not_look_at_other_users_processes(
    initialised: Path, folder: Path
) -> None:
    """As in an ordinary container, where the server runs as nobody."""
    shutil.copytree(initialised, folder / "data")
    orphan = int(run_python(ORPHAN_OF_NOBODY, folder / "data"))
    assert run_python(RECOVER_WITHOUT_PTRACE, folder / "data").split() == ["False", "answered"]
    assert orphan not in processes_of(folder / "data")


def test_a_strangers_process_that_cannot_be_looked_at_is_left_alone(
    initialised: Path, folder: Path
) -> None:
    shutil.copytree(initialised, folder / "data")
    stranger = subprocess.Popen(
        ["sleep", "60"], user=NOBODY if os.geteuid() == 0 else None, cwd=folder
    )
    try:
        lines = [stranger.pid, folder / "data", 1, 5432, "", "127.0.0.1", 1, "ready"]
        (folder / "data" / "postmaster.pid").write_text("\n".join(map(str, lines)))
        assert "answered" in run_python(RECOVER_WITHOUT_PTRACE, folder / "data")
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_port_that_another_process_takes_first_is_given_up(data_dir: Path) -> None:
    assert run_python(PORT_RACE, data_dir) == "False 0"


def test_what_an_interrupted_initdb_left_is_replaced(folder: Path) -> None:
    (folder / "data.new").mkdir()
    (folder / "data.new" / "PG_VERSION").write_text("unfinished")
    with cluster(folder / "data") as it:
        assert query(it.url("postgres")) == "answered"
    assert is_left_alone(folder / "data")
    assert not (folder / "data.new").exists()
