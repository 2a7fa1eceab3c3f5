"""Outages of a server of its own: a full disk, and a password that is changed while serving."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from fastapi.middleware import Middleware
from structlog.testing import capture_logs

from dalkit import DataAccessLayer, ReadTransaction, Transaction, TransactionMiddleware
from dalkit.data.engine import create_engine
from dalkit.dev.postgres import Cluster, temporary_cluster
from dalkit.web import problem_handlers

from tests.serving import serving

pytestmark = pytest.mark.slow

#: Whatever is written into it, there is no space left.
FULL = Path("/dev/full")


@pytest.fixture(scope="module")
def own_server() -> Iterator[Cluster]:
    """A server that asks the role `app` for its password."""
    with temporary_cluster() as it:
        ask = "host all app 127.0.0.1/32 scram-sha-256\n"
        rules = it.data_dir / "pg_hba.conf"
        rules.write_text(ask + rules.read_text())
        yield it


@pytest.fixture
async def admin(own_server: Cluster) -> AsyncIterator[asyncpg.Connection]:
    """Its superuser's connection."""
    connection = await asyncpg.connect(own_server.url("postgres"))
    await connection.execute("SELECT pg_reload_conf()")
    await connection.execute("DROP ROLE IF EXISTS app")
    await connection.execute("CREATE ROLE app LOGIN SUPERUSER PASSWORD 'first'")
    yield connection
    await connection.close()


@pytest.fixture
async def http(own_server: Cluster, admin: asyncpg.Connection) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an app with a pool of one connection, on a real socket."""
    dal = DataAccessLayer()
    url = own_server.url("postgres", role="app").replace("app@", "app:first@")

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        engine = create_engine(url, pool_size=1)
        dal.use(engine)
        yield {"dal": dal}
        await engine.dispose()

    app = FastAPI(
        lifespan=lifespan,
        middleware=[Middleware(TransactionMiddleware, dal=dal)],
        exception_handlers=problem_handlers,
    )

    @app.get("/one")
    async def one(tx: ReadTransaction) -> int:
        return int(await tx.fetch_value(sa.select(1)))

    @app.post("/write")
    async def write(tx: Transaction, path: str) -> None:
        await tx.execute(sa.text(f"COPY (SELECT repeat('a', 100000)) TO '{path}'"))

    async with serving(app) as there, httpx.AsyncClient(base_url=there, timeout=30) as client:
        yield client


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full to take the place of a full disk")
async def test_a_full_disk_is_503_and_over_with_it(http: httpx.AsyncClient) -> None:
    for _ in range(3):
        answer = await http.post("/write", params={"path": str(FULL)})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "space" not in answer.text
    assert (await http.post("/write", params={"path": "/dev/null"})).status_code == 200


async def test_a_password_that_is_changed_while_serving(
    http: httpx.AsyncClient, admin: asyncpg.Connection
) -> None:
    """Open connections go on; new ones are refused, and the log says why; it heals by itself."""
    assert (await http.get("/one")).status_code == 200
    await admin.execute("ALTER ROLE app PASSWORD 'second'")
    assert (await http.get("/one")).status_code == 200
    await admin.execute(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = 'app'"
    )
    with capture_logs() as logs:
        answers = [await http.get("/one") for _ in range(3)]
    assert {answer.status_code for answer in answers} == {503}
    assert any("refuses the password of user 'app'" in line.get("reason", "") for line in logs)
    await admin.execute("ALTER ROLE app PASSWORD 'first'")
    assert (await http.get("/one")).status_code == 200
