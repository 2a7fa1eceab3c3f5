"""/livez and /readyz, with and without a database that is fit for use."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx
import pytest
from asgi_lifespan import LifespanManager

from dalkit.entities import EntityMismatch, ReadEntity
from dalkit.settings import Settings

from tests.service import app as service
from tests.service import authors


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


async def test_without_a_database_url_the_service_lives_and_says_so() -> None:
    async with running(None) as client:
        assert (await client.get("/livez")).status_code == 200
        response = await client.get("/readyz")
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")


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
            assert "db sync" in detail
            await observer.execute("INSERT INTO alembic_version VALUES ($1)", head)
            assert await eventually_ready(client)
            assert (await client.get("/livez")).status_code == 200
    finally:
        await observer.close()


async def test_a_schema_that_is_ahead_of_the_code_is_not_told_to_migrate(
    fresh_database: str,
) -> None:
    observer = await asyncpg.connect(fresh_database)
    await observer.execute("UPDATE alembic_version SET version_num = 'f00d'")
    await observer.close()
    async with running(fresh_database) as client:
        detail = (await client.get("/readyz")).json()["detail"]
    assert "f00d" in detail
    assert "it is newer" in detail


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
