"""The guide "Rolling deploys": its migrations, and two releases behind a balancer under load."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from alembic import command

from dalkit.dev.migrations import all_scripts, write_sql
from dalkit.dev.project import Project
from dalkit.dev.supervisor import free_port

from tests.docs.pages import DOCS, blocks_of
from tests.paths import PROJECT, SERVICE
from tests.schema.fixtures import Alembic, InProcess
from tests.soak import rounds

pytestmark = pytest.mark.slow
FILES = {
    Path(block.title).name: block.text
    for block in blocks_of(DOCS / "rolling-deploys.md")
    if block.title
}
EXPAND = ("0002_add_catalog_number.py", "0003_fill_catalog_number.py")
CONTRACT = "0004_drop_catalog.py"
#: Seconds in which the balancer has to notice that a server is about to leave.
DELAY = 2
#: Seconds for each single wait.
PATIENCE = 60
CLIENTS = rounds(2, 8)
#: Answers that each release gives in each phase.
ANSWERS = rounds(10, 1000)


@pytest.fixture
def versions(checkout: Path) -> Path:
    """The migrations of release N+1."""
    folder = checkout / "migrations" / "versions"
    for name in EXPAND:
        (folder / name).write_text(FILES[name])
    return folder


@contextmanager
def serving(
    release: str, url: str, alembic_ini: Path
) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Serve a release, as `my-service serve` does; yield its port and its process."""
    port = free_port()
    environment = {
        "RELEASE": release,
        "ENVIRONMENT": "testing",
        "DATABASE_URL": url,
        "ALEMBIC_CONFIG": str(alembic_ini),
        "SHUTDOWN_DELAY": str(DELAY),
    }
    call = f"serve('tests.schema.releases:app', port={port})"
    with subprocess.Popen(
        [sys.executable, "-c", f"from dalkit.server import serve; {call}"],
        cwd=PROJECT,
        env=os.environ | environment,
    ) as process:
        try:
            yield port, process
        finally:
            process.kill()


class Balancer:
    """Gives each connection to the next server that says on /readyz that it is ready."""

    def __init__(self) -> None:
        self.servers: set[int] = set()
        self.ready: set[int] = set()
        self._turn = count()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Yield the URL."""
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        asking = asyncio.create_task(self._ask())
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            asking.cancel()
            server.close()

    async def until(self, *ports: int) -> None:
        """Return when just these are ready."""
        async with asyncio.timeout(PATIENCE):
            while self.ready != set(ports):
                await asyncio.sleep(0.02)

    async def _ask(self) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
            while True:
                for port in list(self.servers):
                    status = 0
                    with suppress(httpx.HTTPError):
                        url = f"http://127.0.0.1:{port}/readyz"
                        status = (await client.get(url)).status_code
                    (self.ready.add if status == 200 else self.ready.discard)(port)
                await asyncio.sleep(0.05)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ready = sorted(self.ready)
        port = ready[next(self._turn) % len(ready)]
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", port)
        sending = asyncio.create_task(_pipe(reader, server_writer))
        try:
            async with asyncio.timeout(PATIENCE):
                await _pipe(server_reader, writer)
        finally:
            sending.cancel()
            server_writer.close()
            writer.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


class Load:
    """Clients that add a book, change and read it, each request over a connection of its own."""

    def __init__(self, url: str) -> None:
        self.written: dict[int, str] = {}
        self.releases: Counter[str] = Counter()
        self._client = httpx.AsyncClient(
            base_url=url, trust_env=False, timeout=PATIENCE, headers={"Connection": "close"}
        )
        self._numbers = count()
        self._is_over = False
        self._clients: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the clients for the block; the first answer that is no success ends it."""
        async with self._client, asyncio.TaskGroup() as clients:
            self._clients = [clients.create_task(self._run()) for _ in range(CLIENTS)]
            yield

    async def end(self) -> None:
        """Let the clients finish what they are doing."""
        self._is_over = True
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*self._clients)

    async def until(self, release: str) -> None:
        """Return when this release has given ANSWERS answers more."""
        enough = self.releases[release] + ANSWERS
        async with asyncio.timeout(PATIENCE):
            while self.releases[release] < enough:
                await asyncio.sleep(0.02)

    async def _run(self) -> None:
        while not self._is_over:
            number = f"A-{next(self._numbers)}"
            key = (await self._ask("POST", "/books", number))["id"]
            self.written[key] = number
            await self._ask("PUT", f"/books/{key}", f"{number}!")
            self.written[key] = f"{number}!"
            assert (await self._ask("GET", f"/books/{key}"))["number"] == f"{number}!"

    async def _ask(self, method: str, path: str, number: str | None = None) -> dict[str, Any]:
        response = await self._client.request(method, path, json=number)
        response.raise_for_status()
        answer: dict[str, Any] = response.json()
        self.releases[answer["release"]] += 1
        return answer


async def leaves(process: subprocess.Popen[bytes]) -> None:
    """Tell a server to stop, and wait until it has."""
    process.send_signal(signal.SIGTERM)
    code = await asyncio.to_thread(process.wait, PATIENCE)
    assert code in (0, -signal.SIGTERM)  # uvicorn ends by the signal that it got


@pytest.mark.soak
@pytest.mark.usefixtures("versions")
async def test_a_release_is_rolled_out_and_back_under_load(
    checkout: Path, empty_database: str, in_process: InProcess, alembic: Alembic
) -> None:
    """Migrate first, then switch, then roll back: no error answer, no lost write."""
    await in_process(command.upgrade, "0001")
    conn = await asyncpg.connect(empty_database, timeout=PATIENCE)
    await conn.execute("INSERT INTO author (name) VALUES ('Stanislaw Lem')")
    old, new = SERVICE / "alembic.ini", checkout / "alembic.ini"
    balancer = Balancer()
    with (
        serving("N", empty_database, old) as (first, n),
        serving("N+1", empty_database, new) as (second, n_1),
    ):
        async with balancer.listening() as url:
            load = Load(url)
            balancer.servers = {first, second}
            await balancer.until(first)
            async with load.running():
                await load.until("N")
                assert load.releases["N+1"] == 0  # it is not ready without its schema

                migrated = await asyncio.to_thread(alembic, "upgrade", "head")
                assert migrated.returncode == 0, migrated.stderr
                await load.until("N")
                await balancer.until(first, second)
                await load.until("N+1")
                await leaves(n)
                await load.until("N+1")

                with serving("N", empty_database, old) as (third, _):
                    balancer.servers.add(third)
                    await balancer.until(second, third)
                    await leaves(n_1)
                    await load.until("N")
                    await load.end()
    rows = await conn.fetch("SELECT id, catalog, catalog_number FROM book")
    await conn.close()
    assert {row["id"]: row["catalog"] for row in rows} == load.written
    assert {row["id"]: row["catalog_number"] for row in rows} == load.written


async def test_the_migrations_go_up_and_down_with_rows(
    versions: Path, empty_database: str, in_process: InProcess
) -> None:
    """More rows than two lots."""
    (versions / CONTRACT).write_text(FILES[CONTRACT])
    await in_process(command.upgrade, "0001")
    conn = await asyncpg.connect(empty_database, timeout=PATIENCE)
    await conn.execute(
        "INSERT INTO author (name) VALUES ('Lem');"
        "INSERT INTO book (catalog, title, author_id)"
        "SELECT 'A-' || i, 'It', 1 FROM generate_series(1, 2500) AS i"
    )
    same = "SELECT count(*) FROM book WHERE {} = 'A-' || id"
    await in_process(command.upgrade, "0003")
    for column in ("catalog", "catalog_number"):
        assert await conn.fetchval(same.format(column)) == 2500
    await in_process(command.upgrade, "head")
    await in_process(command.downgrade, "0001")
    assert await conn.fetchval(same.format("catalog")) == 2500
    await in_process(command.upgrade, "head")
    assert await conn.fetchval(same.format("catalog_number")) == 2500
    await conn.close()


def test_squawk_lets_the_migrations_pass(checkout: Path, versions: Path, tmp_path: Path) -> None:
    """With a service's configuration, and only with the lines that permit something."""
    [rules] = PROJECT.parent.glob("{{*}}/.squawk.toml")
    (versions / CONTRACT).write_text(FILES[CONTRACT])
    folder = tmp_path / "sql"
    folder.mkdir()
    project = Project(checkout, "tests.service")
    for script in all_scripts(project)[1:]:
        assert list(write_sql(project, script, folder))

    def squawk() -> subprocess.CompletedProcess[str]:
        program = Path(sys.executable).with_name("squawk")
        options = ["--config", str(rules), "--reporter", "gcc"]
        command = [str(program), *options, *map(str, sorted(folder.iterdir()))]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    passed = squawk()
    assert passed.returncode == 0, passed.stdout
    for file in folder.iterdir():
        file.write_text(re.sub("^-- squawk.*", "", file.read_text(), flags=re.MULTILINE))
    refused = squawk()
    assert refused.returncode == 1
    found = set(re.findall(r"(\d{4})\w+\.sql:.* warning: ([\w-]+)", refused.stdout))
    assert found == {("0003", "ban-drop-constraint"), ("0004", "ban-drop-column")}
