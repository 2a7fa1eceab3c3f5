"""One server for all its users, gone with the last of them."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dalkit.dev.postgres import PostgresError, cluster, temporary_cluster

from tests.dev.processes import COMMAND, User, eventually, is_left_alone, processes_of, query

pytestmark = pytest.mark.slow

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)

TEMPORARY_USER = """
import time
from dalkit.dev.postgres import temporary_cluster
with temporary_cluster() as it:
    print(it.data_dir, flush=True)
    time.sleep(60)
"""


def test_a_temporary_cluster_is_fast_rather_than_safe_and_leaves_nothing() -> None:
    with temporary_cluster() as it:
        assert query(it.url("postgres"), "SHOW fsync") == "off"
    assert is_left_alone(it.data_dir)
    assert not it.data_dir.parent.exists()


def test_a_cluster_speaks_utf8_on_loopback_only(data_dir: Path) -> None:
    with cluster(data_dir) as it:
        assert query(it.url("postgres"), "SHOW server_encoding") == "UTF8"
        assert query(it.url("postgres"), "SHOW listen_addresses") == "127.0.0.1"
        assert query(it.url("postgres"), "SHOW unix_socket_directories") == ""


def test_data_outlive_the_server(data_dir: Path) -> None:
    with cluster(data_dir) as it:
        query(it.url("postgres"), "CREATE TABLE kept AS SELECT 42 AS value")
    with cluster(data_dir) as it:
        assert query(it.url("postgres"), "SELECT value FROM kept") == 42
        query(it.url("postgres"), "DROP TABLE kept")


def test_settings_reach_the_server(data_dir: Path) -> None:
    with cluster(data_dir, settings={"max_connections": "7"}) as it:
        assert query(it.url("postgres"), "SHOW max_connections") == "7"


def test_a_database_name_is_quoted_in_the_url(data_dir: Path) -> None:
    with cluster(data_dir) as it:
        assert it.url("a/b?c") == f"postgresql://postgres@127.0.0.1:{it.port}/a%2Fb%3Fc"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_users_share_one_server_and_the_last_ends_it(
    use: type[User], data_dir: Path, number: signal.Signals
) -> None:
    """Whoever started it, and however that one left."""
    first, second = use(data_dir), use(data_dir)
    assert first.url == second.url
    first.leave(number)
    assert query(second.url) == "answered"
    assert second.leave() == ""
    assert is_left_alone(data_dir)


def test_users_who_come_at_the_same_time_share_one_server(use: type[User], data_dir: Path) -> None:
    users = [use(data_dir, wait=False) for _ in range(3)]
    outputs = [user.process.stdout for user in users]
    assert len({output.readline() for output in outputs if output}) == 1
    assert [user.leave() for user in users] == ["", "", ""]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_user_ended_by_a_signal_leaves_nothing(
    use: type[User], data_dir: Path, number: signal.Signals
) -> None:
    user = use(data_dir)
    user.leave(number)
    # Nobody is left to wait for the server when its last user was killed.
    seconds = 10 if number == signal.SIGKILL else 0
    assert eventually(lambda: is_left_alone(data_dir), seconds)


def test_a_killed_user_of_a_temporary_cluster_leaves_no_folder() -> None:
    user = subprocess.Popen(
        [sys.executable, "-c", TEMPORARY_USER], stdout=subprocess.PIPE, text=True
    )
    assert user.stdout is not None
    data_dir = Path(user.stdout.readline().strip())
    assert processes_of(data_dir)
    user.kill()
    user.communicate()
    assert eventually(lambda: not data_dir.parent.exists() and is_left_alone(data_dir))


def test_a_user_killed_while_the_server_is_made_leaves_it_usable(
    use: type[User], folder: Path
) -> None:
    user = use(folder / "data", wait=False)
    time.sleep(0.3)  # in the middle of initdb
    user.leave(signal.SIGKILL)
    assert eventually(lambda: is_left_alone(folder / "data"))
    with cluster(folder / "data") as it:
        assert query(it.url("postgres")) == "answered"


def test_the_command_says_what_is_wrong_and_exits_with_1(folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "PG_VERSION").write_text("9.6\n")
    command = [*COMMAND, "--data-dir", str(folder / "data")]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stdout == ""
    assert "was written by PostgreSQL 9.6" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_server_that_does_not_start_shows_the_end_of_its_log(data_dir: Path) -> None:
    with (
        pytest.raises(PostgresError, match=r'(?s)does not start.*"max_connections": "many"'),
        cluster(data_dir, settings={"max_connections": "many"}),
    ):
        pass
