"""A primary and a standby that streams from it, made of the embedded server's programs."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Self

import asyncpg
import pytest

from dalkit.dev.postgres import TEMPORARY_SETTINGS
from dalkit.dev.programs import Account, usable_binaries
from dalkit.dev.supervisor import free_port, is_ready, prepare_data

TABLE = "CREATE TABLE thing (id int PRIMARY KEY, n int NOT NULL DEFAULT 0)"


#: Prints how to run PostgreSQL's programs here.
CHOOSE = """
import json, pathlib, sys
from dalkit.dev.programs import choose_account
account = choose_account(pathlib.Path(sys.argv[1]))
print(json.dumps([account.prefix, account.uid, account.gid]))
"""


class Starter(Account):
    """Starts programs without running Python in the child: this process has threads."""

    def popen(self, command: list[str], output: int | IO[str]) -> subprocess.Popen[str]:
        """Start `command`."""
        return subprocess.Popen(
            [*self.prefix, *command],
            cwd="/",
            env=os.environ | {"LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            user=self.uid,
            group=self.gid,
            extra_groups=None if self.uid is None else [],
        )

    @classmethod
    def chosen(cls, data_dir: Path) -> Self:
        """The account that can work there."""
        command = [sys.executable, "-c", CHOOSE, str(data_dir)]
        prefix, uid, gid = json.loads(subprocess.check_output(command))
        return cls(tuple(prefix), uid, gid)


class Server:
    """A server whose process is this one's child; superuser `postgres`, on loopback."""

    def __init__(self, data_dir: Path, account: Account, programs: Path) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self._account = account
        self._programs = programs
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        """Its database."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres?sslmode=disable"

    def start(self, **settings: str) -> None:
        """Start it and wait until it answers; a standby, until it can be read."""
        process = self.launch(**settings)
        assert is_ready(process, self.data_dir), self.data_dir.with_suffix(".log").read_text()

    def launch(self, **settings: str) -> "subprocess.Popen[str]":
        """Start it."""
        options = [f"--{name}={value}" for name, value in (TEMPORARY_SETTINGS | settings).items()]
        command = [str(self._programs / "postgres"), "-D", str(self.data_dir), "-p", str(self.port)]
        command += ["--listen_addresses=127.0.0.1", "--unix_socket_directories=", *options]
        with self.data_dir.with_suffix(".log").open("a") as log:
            self._process = self._account.popen(command, log)
        return self._process

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT sends all of the log to the standby before, SIGQUIT does not."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(20)
            self._process = None

    def run(self, name: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs."""
        works, output = self._account.run(str(self._programs / name), *arguments)
        assert works, output

    async def ask(self, query: str) -> object:
        """The first value of a query, on a connection of its own."""
        conn = await asyncpg.connect(self.url)
        try:
            return await conn.fetchval(query)
        finally:
            await conn.close()


class Pair:
    """A primary with the table `thing`, and its standby."""

    def __init__(self, primary: Server, standby: Server) -> None:
        self.primary = primary
        self.standby = standby

    async def configure(self, **settings: str) -> None:
        """Change settings of the standby."""
        conn = await asyncpg.connect(self.standby.url)
        for name, value in settings.items():
            await conn.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        await conn.execute("SELECT pg_reload_conf()")
        await conn.close()

    async def lag(self, delay: str) -> None:
        """Let the standby replay each COMMIT so much later, and wait until it does."""
        await self.configure(recovery_min_apply_delay=delay)
        async with asyncio.timeout(20):
            while await self._is_replayed_at_once():
                pass

    async def _is_replayed_at_once(self) -> object:
        await self.primary.ask("SELECT pg_logical_emit_message(true, '', '')")
        end = await self.primary.ask("SELECT pg_current_wal_flush_lsn()::text")
        await asyncio.sleep(0.1)
        return await self.standby.ask(f"SELECT pg_last_wal_replay_lsn() >= '{end}'")

    async def stand_still(self) -> None:
        """Let the standby replay nothing more."""
        await self.standby.ask("SELECT pg_wal_replay_pause()::text")
        async with asyncio.timeout(20):
            while await self.standby.ask("SELECT pg_get_wal_replay_pause_state()") != "paused":
                await asyncio.sleep(0.01)

    async def catch_up(self) -> None:
        """Wait until the standby has replayed what the primary has written."""
        await self.configure(recovery_min_apply_delay="0")
        await self.standby.ask("SELECT pg_wal_replay_resume()::text")
        end = await self.primary.ask("SELECT pg_current_wal_insert_lsn()::text")
        await self.primary.ask("SELECT pg_logical_emit_message(true, '', '')")  # a COMMIT after it
        async with asyncio.timeout(20):
            query = f"SELECT pg_last_wal_replay_lsn() >= '{end}'"
            while not await self.standby.ask(query):
                await asyncio.sleep(0.01)


@contextmanager
def pair() -> Iterator[Pair]:
    """Two servers in a folder of their own; both are ended, whatever happened to them."""
    with tempfile.TemporaryDirectory(prefix="replica-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # root runs the servers as another user
        base = Path(folder, "primary")
        account = Starter.chosen(base)
        programs, major = usable_binaries(account, Path(folder, "binaries"))
        if not (programs / "pg_basebackup").exists():
            pytest.skip("It needs pg_basebackup, which comes with PostgreSQL's client programs.")
        prepare_data(base, programs, major, account)
        primary = Server(base, account, programs)
        standby = Server(Path(folder, "standby"), account, programs)
        try:
            primary.start(synchronous_commit="on")
            asyncio.run(primary.ask(TABLE))
            standby.data_dir.mkdir(mode=0o700)
            account.take(standby.data_dir)
            standby.run(
                *("pg_basebackup", "-h", "127.0.0.1", "-p", str(primary.port), "-U", "postgres"),
                *("-D", str(standby.data_dir), "-R", "-c", "fast", "--no-sync"),
            )
            standby.start()
            yield Pair(primary, standby)
        finally:
            for server in (standby, primary):
                server.stop(signal.SIGQUIT)
