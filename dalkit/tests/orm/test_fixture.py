"""The fixture `session`: in the test's transaction, beside the requests of `client`."""

from collections.abc import AsyncIterator

import httpx
import pytest
from asgi_lifespan import LifespanManager
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from dalkit import DataAccessLayer, TransactionManager
from dalkit.settings import Settings
from dalkit.testing import rolled_back

from tests.orm.models import Writer, routes


@pytest.fixture
async def transaction(shelf: DataAccessLayer) -> AsyncIterator[TransactionManager]:
    """As in dalkit.testing, in the database that has the tables of the models."""
    async with rolled_back(shelf) as outer:
        yield outer


@pytest.fixture
async def client(
    shelf: DataAccessLayer, settings: Settings, transaction: TransactionManager
) -> AsyncIterator[httpx.AsyncClient]:
    """As in dalkit.testing."""
    from tests.service.app import create_app

    app = create_app(settings, shelf)
    app.state.seen, app.state.sessions = [], []
    app.include_router(routes)
    async with LifespanManager(app) as manager:
        transport = httpx.ASGITransport(manager.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as it:
            yield it


async def count(session: AsyncSession) -> int:
    """How many writers the session sees."""
    return (await session.scalars(select(func.count()).select_from(Writer))).one()


@pytest.mark.parametrize("_", range(2))
async def test_what_is_committed_is_gone_in_the_next_test(session: AsyncSession, _: int) -> None:
    assert await count(session) == 0
    session.add(Writer(name="Lem"))
    await session.commit()
    assert await count(session) == 1


async def test_requests_see_what_the_test_has_added_and_the_other_way_round(
    session: AsyncSession, client: httpx.AsyncClient
) -> None:
    lem = Writer(name="Lem")
    session.add(lem)
    assert (await client.get("/orm/read/Lem")).json()["name"] == "Lem"
    assert (await client.post("/orm/writers", json={"name": "Dick"})).status_code == 201
    assert (await Writer.get_one(session, name="Dick")).id > lem.id


async def test_the_session_survives_a_request_that_is_rolled_back(
    session: AsyncSession, client: httpx.AsyncClient
) -> None:
    session.add(Writer(name="Lem"))
    for path in ("/orm/writers", "/orm/pending", "/orm/swallowed"):
        refused = await client.post(path, json={"name": "Lem"})
        assert refused.status_code in (409, 500)
    assert await count(session) == 1


async def test_code_under_test_may_roll_back_and_go_on(session: AsyncSession) -> None:
    session.add(Writer(name="Lem"))
    await session.commit()
    session.add(Writer(name="Lem"))
    with pytest.raises(IntegrityError):
        await session.flush()
    await session.rollback()
    session.add(Writer(name="Dick"))
    await session.commit()
    assert await count(session) == 2


async def test_a_part_of_a_request_is_undone_alone(
    session: AsyncSession, client: httpx.AsyncClient
) -> None:
    assert (await client.post("/orm/nested", json={"name": "Lem"})).json() == 1
    assert await count(session) == 1


async def test_a_job_under_test_is_rolled_back_too(
    shelf: DataAccessLayer, session: AsyncSession
) -> None:
    async with shelf.session() as job:
        job.add(Writer(name="Lem"))
    assert await count(session) == 1
