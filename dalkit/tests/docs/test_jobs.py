"""The guide "Jobs": its files in a copy of the service, whose worker is a process."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import asyncpg
import httpx
import pytest
from alembic import command
from fastapi import APIRouter, Body, FastAPI, HTTPException
from fastapi.middleware import Middleware
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from sqlalchemy import make_url

from dalkit import DataAccessLayer, Transaction, TransactionMiddleware
from dalkit.data.transaction import TransactionManager

from tests.docs.pages import DOCS, blocks_of
from tests.observe.test_telemetry import collector
from tests.pgbouncer.bouncer import MISSING, PROGRAM, bouncer
from tests.schema.fixtures import InProcess
from tests.server_process import Server
from tests.slack.fake_slack import FakeSlack

pytestmark = pytest.mark.slow
FILES = {block.title: block.text for block in blocks_of(DOCS / "jobs.md") if block.title}
PGQ = Path(sys.executable).with_name("pgq")

Enqueue = Callable[[TransactionManager, str, bytes], Awaitable[None]]


@pytest.fixture(scope="session")
def printed() -> str:
    """The statements for pgqueuer's tables."""
    return subprocess.run(
        [PGQ, "sql", "install"], check=True, capture_output=True, text=True
    ).stdout


@pytest.fixture
async def jobs_url(checkout: Path, empty_database: str, in_process: InProcess, printed: str) -> str:
    """A database of the copied service, which has the guide's files and migration."""
    versions = checkout / "migrations" / "versions"
    (versions / "0002_add_jobs.sql").write_text(printed)
    (versions / "0002_add_jobs.py").write_text(FILES["migrations/versions/0002_add_jobs.py"])
    for name in ("jobs.py", "cli.py"):
        (checkout / name).write_text(FILES[f"src/my_service/{name}"])
    await in_process(command.upgrade, "head")
    return empty_database


@pytest.fixture
async def dal(jobs_url: str) -> AsyncIterator[DataAccessLayer]:
    """The tables of that database."""
    async with DataAccessLayer.connect(jobs_url) as dal:
        yield dal


@pytest.fixture
async def other(jobs_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Somebody who sees only what is committed."""
    conn = await asyncpg.connect(jobs_url)
    yield conn
    await conn.close()


@pytest.fixture
def jobs() -> Iterator[dict[str, Any]]:
    """What the guide's jobs.py defines, in the process of the service."""
    from pgqueuer.ports.tracing import TRACER

    module = ModuleType("jobs")
    exec(FILES["src/my_service/jobs.py"], vars(module))
    yield vars(module)
    TRACER.tracer = None


@contextmanager
def working(checkout: Path, url: str, **environment: str) -> Iterator[Server]:
    """Run the command `work`."""
    environment |= {"PATH": os.environ["PATH"], "NO_PROXY": "127.0.0.1", "LOG_FORMAT": "json"}
    environment |= {"AUTH0_DOMAIN": "test.eu.auth0.com", "AUTH0_AUDIENCE": "https://api.test"}
    environment |= {"ALEMBIC_CONFIG": str(checkout / "alembic.ini"), "ENVIRONMENT": "testing"}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.service.cli", "work"],
        cwd=checkout.parents[1],
        env={"DATABASE_URL": url, "PYTHONPATH": str(checkout.parents[1]), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield Server(process, "")
        finally:
            process.kill()


async def queued(conn: asyncpg.Connection) -> list[tuple[str, str]]:
    """The jobs that are not done, oldest first."""
    rows = await conn.fetch("SELECT payload, status::text FROM pgqueuer ORDER BY id")
    return [(row["payload"].decode(), row["status"]) for row in rows]


async def test_the_migration_can_be_undone(jobs_url: str, in_process: InProcess) -> None:
    await in_process(command.downgrade, "0001")
    await in_process(command.upgrade, "head")


async def test_a_request_enqueues_with_its_commit_or_not_at_all(
    dal: DataAccessLayer, other: asyncpg.Connection, jobs: dict[str, Any]
) -> None:
    """The guide's handler, and one that fails after it."""
    router = APIRouter()
    names = jobs | {"router": router, "Annotated": Annotated, "Body": Body}
    exec(FILES["a handler"], names | {"Transaction": Transaction})

    @router.post("/refused")
    async def refused(transaction: Transaction) -> None:
        await jobs["enqueue"](transaction, "add_author", b"Nobody")
        assert await other.fetchval("SELECT count(*) FROM pgqueuer") == 1
        raise HTTPException(409)

    app = FastAPI(middleware=[Middleware(TransactionMiddleware, dal=dal)])
    app.include_router(router)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://a") as client:
        assert (await client.post("/wishes", json="Anna")).status_code == 202
        assert (await client.post("/refused")).status_code == 409
    assert await queued(other) == [("Anna", "queued")]


async def test_a_worker_lives_as_the_service_does(
    checkout: Path,
    jobs_url: str,
    dal: DataAccessLayer,
    other: asyncpg.Connection,
    jobs: dict[str, Any],
    fake_slack: FakeSlack,
) -> None:
    """A job is logged in the trace of who enqueued it, its error alerts, SIGTERM lets it finish."""

    async def enqueue(name: str) -> None:
        async with dal.transaction() as transaction:
            await jobs["enqueue"](transaction, "add_author", name.encode())
            assert (name, "queued") not in await queued(other)

    slack = {"SLACK_WEBHOOK_URL": fake_slack.url, "SLACK_ENVIRONMENTS": "testing"}
    with (
        collector() as (endpoint, sent),
        working(checkout, jobs_url, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, **slack) as worker,
    ):
        await worker.lines(until='"working"')
        provider = TracerProvider()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(trace, "get_tracer_provider", lambda: provider)
            with provider.get_tracer("test").start_as_current_span("request") as span:
                await enqueue("Anna")
        line = json.loads((await worker.lines(until="author added"))[-1])
        assert (line["job"], line["job_id"]) == ("add_author", 1)
        assert line["trace_id"] == format(span.get_span_context().trace_id, "032x")

        await enqueue("Anna")  # whose name is unique
        [alert] = await fake_slack.received(1, within=30)
        assert "UniqueViolation" in alert["text"] or "IntegrityError" in alert["text"]
        assert "*Job*\\nadd_author job_id=2" in json.dumps(alert)
        assert "*Request*" not in json.dumps(alert)

        async with other.transaction():
            await other.execute("LOCK TABLE author IN EXCLUSIVE MODE")
            await enqueue("Berta")
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = $1::regclass"
            async with asyncio.timeout(30):
                while not await other.fetchval(waiting, "author"):
                    await asyncio.sleep(0.02)
            worker.signal(signal.SIGTERM)
            await worker.lines(until='"stopping"')
            await enqueue("Clara")
        await worker.output()
        assert worker.process.returncode == 0
    assert await queued(other) == [("Anna", "failed"), ("Clara", "queued")]
    authors = await other.fetch("SELECT name FROM author ORDER BY name")
    assert [row["name"] for row in authors] == ["Anna", "Berta"]
    assert b"INSERT" in sent["/v1/traces"]


@pytest.fixture
def pooled(jobs_url: str) -> Iterator[str]:
    """The same database through a PgBouncer in transaction mode."""
    url = make_url(jobs_url)
    with bouncer(url) as port:
        through = url.set(host="127.0.0.1", port=port).update_query_dict({"sslmode": "disable"})
        yield through.render_as_string(hide_password=False)


@pytest.mark.skipif(PROGRAM is None, reason=MISSING)
async def test_a_worker_listens_around_pgbouncer(
    checkout: Path, jobs_url: str, pooled: str, jobs: dict[str, Any]
) -> None:
    """Enqueued through it, done at once by a worker that goes straight to PostgreSQL; one that
    goes through it would hear nothing, and ends with a sentence.
    """
    with (
        working(checkout, jobs_url) as worker,
        working(checkout, pooled, DATABASE_PGBOUNCER="true") as deaf,
    ):
        await worker.lines(until='"working"')
        async with (
            DataAccessLayer.connect(pooled, pgbouncer=True) as dal,
            dal.transaction() as transaction,
        ):
            await jobs["enqueue"](transaction, "add_author", b"Anna")
        async with asyncio.timeout(20):  # its poll comes after 30 seconds
            await worker.lines(until="author added")
        assert "A worker hears nothing through PgBouncer" in await deaf.output(within=60)
        assert deaf.process.returncode == 1
