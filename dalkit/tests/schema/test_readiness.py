"""/livez and /readyz, with and without a database that is fit for use."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx
import pytest
import structlog
from asgi_lifespan import LifespanManager
from sqlalchemy import make_url
from structlog.testing import capture_logs

from dalkit import DataAccessLayer, Database, DatabaseUnreachable
from dalkit.data.engine import create_engine
from dalkit.entities import EntityMismatch, ReadEntity
from dalkit.settings import Settings

from tests.schema.fixtures import AddMigration
from tests.service import app as service
from tests.service import authors
from tests.serving import serving


@asynccontextmanager
async def running(database_url: str | None, **values: Any) -> AsyncIterator[httpx.AsyncClient]:
    """The service on this database; it starts whatever state that is in."""
    settings = Settings(_env_file=None, environment="testing", database_url=database_url, **values)
    async with LifespanManager(service.create_app(settings)) as manager:
        transport = httpx.ASGITransport(manager.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
            yield client


async def eventually_ready(client: httpx.AsyncClient) -> bool:
    """Whether /readyz answers 200 within ten seconds."""
    async with asyncio.timeout(10):
        while (await client.get("/readyz")).status_code != 200:
            await asyncio.sleep(0.1)
    return True


async def test_a_service_on_a_migrated_database_is_ready(client: httpx.AsyncClient) -> None:
    assert (await client.get("/livez")).json() == {"status": "ok"}
    assert (await client.get("/readyz")).json() == {"status": "ok"}


async def test_where_the_docs_are_off_the_log_alone_says_why_it_is_not_ready() -> None:
    for docs_enabled, said in ((True, "DATABASE_URL"), (False, "The service is not ready.")):
        async with running(None, docs_enabled=docs_enabled) as client:
            response = await client.get("/readyz")
        assert response.status_code == 503
        assert said in response.json()["detail"]


async def test_a_schema_that_the_role_may_not_look_into_is_the_reason(
    fresh_database: str,
) -> None:
    owner = await asyncpg.connect(fresh_database)
    try:
        if await owner.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"):
            pytest.skip("A superuser may look into any schema: use a role that is none.")
        await owner.execute("REVOKE USAGE ON SCHEMA public FROM public, pg_database_owner")
    finally:
        await owner.close()
    async with running(fresh_database) as client:
        said = (await client.get("/readyz")).json()["detail"]
    assert "may not look into schema public" in said


async def test_without_a_database_url_the_service_lives_and_says_so() -> None:
    async with running(None) as client:
        assert (await client.get("/livez")).status_code == 200
        response = await client.get("/readyz")
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        assert response.json()["detail"] == "DATABASE_URL is not set."


async def test_a_server_that_is_not_there_is_a_503_and_no_crash() -> None:
    async with running("postgresql://u:p@127.0.0.1:1/none") as client:
        assert (await client.get("/livez")).status_code == 200
        response = await client.get("/readyz")
        assert response.status_code == 503
        assert response.json()["detail"] == "The database cannot be reached."


async def test_a_wrong_database_name_is_a_503(fresh_database: str) -> None:
    async with running(fresh_database + "_nowhere") as client:
        assert (await client.get("/readyz")).status_code == 503


async def test_a_schema_behind_the_code_is_named_and_healed_without_a_restart(
    fresh_database: str,
) -> None:
    observer = await asyncpg.connect(fresh_database)
    try:
        head = await observer.fetchval("DELETE FROM alembic_version RETURNING version_num")
        async with running(fresh_database) as client:
            detail = (await client.get("/readyz")).json()["detail"]
            assert head in detail
            assert "not migrated" in detail
            assert "alembic upgrade head" in detail
            await observer.execute("INSERT INTO alembic_version VALUES ($1)", head)
            assert await eventually_ready(client)
            assert (await client.get("/livez")).status_code == 200
    finally:
        await observer.close()


@pytest.fixture
async def observer(fresh_database: str) -> AsyncIterator[asyncpg.Connection]:
    """Somebody else's connection."""
    connection = await asyncpg.connect(fresh_database)
    yield connection
    await connection.close()


async def test_a_newer_schema_that_the_models_fit_is_ready_with_one_warning(
    fresh_database: str, observer: asyncpg.Connection
) -> None:
    """As when one migrates first and deploys then; a replica that starts meanwhile, too."""
    with capture_logs([structlog.contextvars.merge_contextvars]) as logs:
        async with running(fresh_database) as old:
            assert await eventually_ready(old)
            await observer.execute("ALTER TABLE author ADD COLUMN born date")
            await observer.execute("UPDATE alembic_version SET version_num = 'f00d'")
            assert {(await old.get("/readyz")).status_code for _ in range(5)} == {200}
            structlog.contextvars.clear_contextvars()  # the client runs the app in this context
            async with running(fresh_database) as restarted:
                assert (await restarted.get("/readyz")).status_code == 200
                assert (await restarted.get("/v1/authors")).status_code == 401
            async with asyncio.timeout(10):
                while len(warnings := [it for it in logs if "newer" in it["event"]]) < 2:
                    await asyncio.sleep(0.05)
    assert [it["log_level"] for it in warnings] == ["warning"] * 2  # one for each
    assert {(it["revision"], it["expected"]) for it in warnings} == {("f00d", "0001")}
    assert not any("request_id" in it for it in warnings)  # of the probe that found it out


async def test_a_newer_schema_that_the_models_do_not_fit_is_a_503_with_the_reason(
    fresh_database: str, observer: asyncpg.Connection
) -> None:
    async with running(fresh_database) as old:
        assert await eventually_ready(old)
        await observer.execute("ALTER TABLE book DROP COLUMN price CASCADE")
        await observer.execute("UPDATE alembic_version SET version_num = 'f00d'")
        async with asyncio.timeout(10):
            while (response := await old.get("/readyz")).status_code == 200:
                await asyncio.sleep(0.05)
        async with running(fresh_database) as restarted:
            details = {response.json()["detail"], (await restarted.get("/readyz")).json()["detail"]}
    [detail] = details
    assert detail.startswith("The models do not fit the tables at revision f00d, newer than")


async def test_a_schema_that_is_behind_is_a_503(
    fresh_database: str, observer: asyncpg.Connection, add_migration: AddMigration
) -> None:
    add_migration("0002")
    async with running(fresh_database) as client:
        response = await client.get("/readyz")
        assert response.status_code == 503
        assert response.json()["detail"] == (
            "The schema is at revision 0001, this code needs 0002: run `alembic upgrade head`."
        )
        await observer.execute("UPDATE alembic_version SET version_num = '0002'")
        assert await eventually_ready(client)


async def test_the_remedy_is_the_service_s_own_command(
    fresh_database: str, add_migration: AddMigration
) -> None:
    """The console script of the distribution that brings the settings; here alembic's."""
    add_migration("0002")
    owner = type("Settings", (Settings,), {"__module__": "alembic.settings"})
    settings = owner(_env_file=None, database_url=fresh_database)
    async with Database(settings, entities=()) as database:
        assert (await database.problem()).endswith("this code needs 0002: run `alembic db sync`.")


async def test_readiness_does_not_wait_for_the_pool_of_the_requests(fresh_database: str) -> None:
    settings = Settings(
        _env_file=None, environment="testing", database_url=fresh_database, database_pool_size=1
    )
    async with Database(settings, entities=()) as database, database.dal.engine.connect():
        assert await database.problem() == ""


async def test_a_database_that_falls_silent_is_given_two_seconds_and_one_connection(
    fresh_database: str,
) -> None:
    """However many ask."""
    connections = 0

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    url = make_url(fresh_database).set(host="127.0.0.1", port=port)
    dal = DataAccessLayer()
    dal.use(create_engine(url))
    settings = Settings(_env_file=None, environment="testing")
    async with server, Database(settings, entities=(), dal=dal) as database:
        began = time.monotonic()
        answers = await asyncio.gather(
            *(database.problem() for _ in range(20)), return_exceptions=True
        )
        assert 1.5 < time.monotonic() - began < 10
        assert {type(answer) for answer in answers} == {DatabaseUnreachable}
        assert "did not answer in time" in str(answers[0])
        assert connections == 1
    await dal.engine.dispose()


async def test_the_log_names_host_database_and_remedy(fresh_database: str) -> None:
    nowhere = fresh_database + "_nowhere"
    with capture_logs() as logs:
        async with running(nowhere) as client:
            assert (await client.get("/readyz")).status_code == 503
    [reason] = {it["reason"] for it in logs if "not ready" in it["event"]}
    url = make_url(nowhere)
    assert reason == (
        f"PostgreSQL at {url.host}:{url.port}/{url.database} has no such database: "
        f"create it with createdb {url.database}, or correct DATABASE_URL."
    )


async def test_probes_answer_head(client: httpx.AsyncClient) -> None:
    for path in ("/livez", "/readyz"):
        response = await client.head(path)
        assert (response.status_code, response.content) == (200, b"")


class Misfit(ReadEntity, table="author"):
    shelf: str


@pytest.fixture
def misfit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service has a model with a column that its table has not."""
    monkeypatch.setattr(authors, "ENTITIES", (*authors.ENTITIES, Misfit))


@pytest.mark.usefixtures("misfit")
async def test_models_that_do_not_fit_keep_the_service_from_starting(fresh_database: str) -> None:
    with pytest.raises(EntityMismatch, match="shelf"):
        async with running(fresh_database):
            pass


@pytest.mark.usefixtures("misfit")
async def test_models_that_do_not_fit_after_a_late_start_are_not_ready(
    fresh_database: str,
) -> None:
    observer = await asyncpg.connect(fresh_database)
    try:
        head = await observer.fetchval("DELETE FROM alembic_version RETURNING version_num")
        async with running(fresh_database) as client:
            await observer.execute("INSERT INTO alembic_version VALUES ($1)", head)
            async with asyncio.timeout(10):
                while "do not fit" not in (await client.get("/readyz")).text:
                    await asyncio.sleep(0.1)
    finally:
        await observer.close()


async def test_a_database_that_comes_back_is_used_again(fresh_database: str) -> None:
    admin = await asyncpg.connect(fresh_database.rsplit("/", 1)[0] + "/postgres")
    name = fresh_database.rsplit("/", 1)[1]
    try:
        await admin.execute(f'ALTER DATABASE "{name}" RENAME TO "{name}_away"')
        async with running(fresh_database) as client:
            assert (await client.get("/readyz")).status_code == 503
            await admin.execute(f'ALTER DATABASE "{name}_away" RENAME TO "{name}"')
            assert await eventually_ready(client)
    finally:
        await admin.close()


async def test_the_log_says_why_a_request_got_503(
    fresh_database: str, client: httpx.AsyncClient
) -> None:
    """The answer does not, and nobody may be asking /readyz."""
    settings = Settings(_env_file=None, environment="testing", database_url=fresh_database)
    headers = {"authorization": client.headers["authorization"]}
    url = make_url(fresh_database)
    reason = (
        f"PostgreSQL at {url.host}:{url.port}/{url.database} has no connection left: "
        "lower DATABASE_POOL_SIZE or raise max_connections."
    )
    observer = await asyncpg.connect(fresh_database)
    try:
        async with serving(service.create_app(settings)) as there:
            with capture_logs() as logs:
                async with httpx.AsyncClient(base_url=there, headers=headers) as outside:
                    assert (await outside.get("/v1/books")).status_code == 200
                    await observer.execute(f'ALTER DATABASE "{url.database}" CONNECTION LIMIT 0')
                    await observer.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
                    async with asyncio.timeout(10):
                        # Before it, connections that are just being closed may have others.
                        while not any(it.get("reason") == reason for it in logs):
                            answer = await outside.get("/v1/books")
                            await asyncio.sleep(0.02)
                    assert answer.status_code == 503
                    assert answer.json()["detail"] == "The database cannot be reached."
    finally:
        await observer.close()
    told = next(it for it in logs if it.get("reason") == reason)
    assert (told["event"], told["log_level"]) == ("The database cannot be used.", "warning")
