"""A real PgBouncer in transaction mode in front of the tests' server."""

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL

from dalkit.dev.supervisor import free_port

from tests.replica.servers import Starter

PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")
MISSING = "It needs PgBouncer: apt-get install pgbouncer, or brew install pgbouncer."
#: Connections to the server, for each database and role.
POOL_SIZE = 20
CONFIG = """
[databases]
* = host={host} port={port}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own}
unix_socket_dir =
auth_type = trust
auth_file = {users}
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 1000
server_idle_timeout = 600
logfile = {log}
pidfile =
"""


@contextmanager
def bouncer(server: URL, limits: str = "") -> Iterator[int]:
    """Run it for every database and the roles of the tests; the port.

    `limits` are lines of its configuration, which win over CONFIG's.
    """
    assert PROGRAM is not None
    with tempfile.TemporaryDirectory(prefix="pgbouncer-", ignore_cleanup_errors=True) as folder:
        here, port = Path(folder), free_port()
        here.chmod(0o777)  # as root it runs as another user
        users, log = here / "users.txt", here / "log"
        users.write_text(f'"{server.username}" "{server.password or ""}"\n"postgres" ""\n')
        places = {"host": server.host, "port": server.port or 5432, "own": port}
        config = here / "pgbouncer.ini"
        config.write_text(CONFIG.format(users=users, log=log, size=POOL_SIZE, **places) + limits)
        process = Starter.chosen(here / "data").popen([PROGRAM, str(config)], subprocess.DEVNULL)
        try:
            _wait_for(process, port, log)
            yield port
        finally:
            process.kill()
            process.wait()


def _wait_for(process: "subprocess.Popen[str]", port: int, log: Path) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            said = log.read_text() if log.exists() else ""
            assert process.poll() is None, f"PgBouncer has ended: {said}"
            assert time.monotonic() < deadline, f"PgBouncer does not listen: {said}"
            time.sleep(0.02)
        else:
            return
