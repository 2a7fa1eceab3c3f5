"""Whoever has written finds it, although the replica lags behind."""

import asyncio
import time
from typing import Any

import asyncpg
import httpx
import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from fastapi import FastAPI

from dalkit import DataAccessLayer, TransactionMiddleware
from dalkit.data import replica
from dalkit.data.engine import create_engine
from dalkit.data.position import Position, written
from dalkit.schema import create_idempotency_table
from dalkit.web import CorsMiddleware

from tests.replica.conftest import served, using
from tests.replica.servers import Pair
from tests.web.apps import calling

HEADER = "X-Database-Position"


async def write(client: httpx.AsyncClient, number: int) -> dict[str, str]:
    """Add a thing; the headers of a request that has to find it."""
    response = await client.post(f"/things/{number}")
    assert response.status_code == 201
    return {HEADER: response.headers[HEADER]}


async def read(client: httpx.AsyncClient, path: str, **options: Any) -> tuple[bool, bool]:
    """Whether it was found, and whether a standby has answered."""
    response = await client.get(path, **options)
    assert response.status_code == 200, response.text
    return response.json()["found"], response.json()["standby"]


async def test_a_replica_that_lags_a_second_costs_no_client_its_own_writes(
    both: Pair, client: httpx.AsyncClient
) -> None:
    await both.lag("1s")

    async def one(number: int) -> tuple[bool, bool]:
        headers = await write(client, number)
        missed = not (await read(client, f"/things/{number}"))[0]
        return missed, (await read(client, f"/things/{number}", headers=headers))[0]

    seen = []
    for first in range(0, 200, 20):
        seen += await asyncio.gather(*(one(number) for number in range(first, first + 20)))
    assert any(missed for missed, _ in seen)  # all of them, where a second is long enough
    assert sum(found for _, found in seen) == 200


async def test_a_replica_that_has_it_answers(both: Pair, client: httpx.AsyncClient) -> None:
    headers = await write(client, 1)
    await both.catch_up()
    assert await read(client, "/things/1", headers=headers) == (True, True)
    assert await read(client, "/things/1") == (True, True)


async def test_what_is_replayed_within_the_wait_is_read_from_the_replica(
    both: Pair, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica, "LONGEST_WAIT", 20)
    await both.lag("300ms")
    headers = await write(client, 1)
    assert await read(client, "/things/1") == (False, True)
    assert await read(client, "/things/1", headers=headers) == (True, True)


async def test_the_wait_is_short(both: Pair, client: httpx.AsyncClient) -> None:
    await both.stand_still()
    headers = await write(client, 1)
    began = time.monotonic()
    assert await read(client, "/things/1", headers=headers) == (True, False)
    assert time.monotonic() - began >= 0.1


async def test_a_server_that_says_it_waits_itself_and_does_not_is_asked_again(
    both: Pair, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica, "WAITS_ITSELF", 15)
    monkeypatch.setattr(replica, "LONGEST_WAIT", 20)
    await both.lag("300ms")
    headers = await write(client, 1)
    assert await read(client, "/things/1", headers=headers) == (True, True)


async def test_who_gets_a_kept_answer_finds_what_was_written(
    both: Pair, client: httpx.AsyncClient
) -> None:
    """The client has lost the position with the first answer."""
    engine = create_engine(both.primary.url)
    async with engine.begin() as conn:
        await conn.run_sync(
            lambda sync: create_idempotency_table(Operations(MigrationContext.configure(sync)))
        )
    await both.stand_still()
    for is_repeated in (False, True):
        response = await client.post("/orders/1", headers={"Idempotency-Key": "a"})
        assert response.status_code == 201, response.text
        assert ("idempotent-replayed" in response.headers) is is_repeated
        headers = {HEADER: response.headers[HEADER]}
        assert await read(client, "/things/1", headers=headers) == (True, False)
    async with engine.begin() as conn:
        await conn.execute(sa.text("DROP TABLE idempotency_key"))
    await engine.dispose()


async def test_who_asks_for_it_reads_from_the_primary(
    both: Pair, client: httpx.AsyncClient
) -> None:
    await both.stand_still()
    await write(client, 1)
    assert await read(client, "/fresh/1") == (True, False)


@pytest.mark.parametrize(
    "wrong",
    [
        *("", "0", "primary", "0/16EF698", "1-1-1-1", "g-1-1", "-1-1-1", "1-1-", "1--1"),
        *("{cluster}-{timeline}-f" + "f" * 16, "{cluster}-ffffffff-{place}"),  # too long; future
        *("{cluster}-{timeline}-ffffffffffffffff", "{cluster}-{timeline}-{later}"),  # future
        *("1-{timeline}-{place}", "1-{timeline}-ffffffffffffffff"),  # another cluster
        *(" {cluster}-{timeline}-{place}\n", "'; SELECT 1; --", "\xff" * 100),
    ],
)
async def test_a_position_that_is_none_is_ignored(
    both: Pair, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    async def wait(*_: object) -> bool:
        raise AssertionError("it is waited for")

    await both.stand_still()
    right = Position.parse((await write(client, 1))[HEADER])
    assert right is not None
    parts = {name: f"{value:x}" for name, value in right._asdict().items()}
    text = wrong.format(**parts, later=f"{right.place + 2**30:x}")
    monkeypatch.setattr(replica.Replica, "_replays", wait)
    headers = httpx.Headers([(HEADER, text.strip("\n"))], encoding="latin-1")
    assert await read(client, "/things/1", headers=headers) == (False, True)


async def test_positions_that_somebody_makes_up_cost_the_primary_few_questions(
    both: Pair, dal: DataAccessLayer, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is for all who came before it was asked, and there is a pause between two."""
    assert dal.replica is not None
    ask, asked = dal.replica._ask, []

    async def counted() -> bool:
        asked.append(time.monotonic())
        return await ask()

    monkeypatch.setattr(dal.replica, "_ask", counted)
    await both.stand_still()
    right = Position.parse((await write(client, 1))[HEADER])
    assert right is not None
    headers = {HEADER: str(right._replace(place=right.place + 2**40))}
    began = time.monotonic()
    for _ in range(10):
        await asyncio.gather(*(read(client, "/things/1", headers=headers) for _ in range(20)))
    assert len(asked) < 100
    assert (len(asked) - 1) * replica.INTERVAL * 0.9 <= asked[-1] - began


async def test_what_another_process_writes_between_two_questions_is_found(
    both: Pair, client: httpx.AsyncClient
) -> None:
    await both.stand_still()
    right = Position.parse((await write(client, 0))[HEADER])
    assert right is not None
    future = {HEADER: str(right._replace(place=right.place + 2**40))}
    for number in range(1, 6):
        assert await read(client, "/things/0", headers=future) == (False, True)
        await both.primary.ask(f"INSERT INTO thing VALUES ({number}) RETURNING 1")
        after = {HEADER: str(await _written(both))}
        assert await read(client, f"/things/{number}", headers=after) == (True, False)


async def test_two_positions_are_none(both: Pair, client: httpx.AsyncClient) -> None:
    await both.stand_still()
    position = (await write(client, 1))[HEADER]
    twice = [(HEADER, position), (HEADER, position)]
    assert await read(client, "/things/1", headers=twice) == (False, True)


async def test_only_what_was_committed_has_a_position(
    client: httpx.AsyncClient, both: Pair
) -> None:
    assert HEADER in (await client.post("/things/1")).headers
    for response in (
        await client.post("/things/1"),
        await client.post("/refused"),
        await client.post("/unused"),
        await client.get("/things/1"),
        await client.get("/fresh/1"),
    ):
        assert HEADER not in response.headers
    async with DataAccessLayer.connect(both.primary.url) as alone, served(alone) as without:
        assert HEADER not in (await without.post("/things/2")).headers


async def test_a_cookie_does_it_where_the_owner_says_so(both: Pair, dal: DataAccessLayer) -> None:
    await both.stand_still()
    async with served(dal, position_cookie="__Host-position") as client:
        response = await client.post("/things/1")
        cookie = f"__Host-position={response.headers[HEADER]}"
        assert response.headers["set-cookie"] == f"{cookie}; Path=/; Secure; HttpOnly; SameSite=Lax"
        assert await read(client, "/things/1") == (True, False)  # the client sends it
        client.cookies.clear()
        assert await read(client, "/things/1") == (False, True)
        cookies = {"cookie": f"a=b; {cookie}; c"}
        assert await read(client, "/things/1", headers=cookies) == (True, False)
    async with served(dal) as client:
        assert "set-cookie" not in (await client.post("/things/2")).headers
        assert await read(client, "/things/1", headers=cookies) == (False, True)


@pytest.mark.parametrize("name", ["", "a b", "a=b", "a;b", "ä", "a\r\nb"])
def test_a_name_that_no_cookie_can_have_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="position_cookie"):
        TransactionMiddleware(FastAPI(), dal=DataAccessLayer(), position_cookie=name)


async def test_a_position_is_past_a_commit_that_was_not_flushed(both: Pair) -> None:
    url = both.primary.url + "&options=-csynchronous_commit%3Doff"
    async with using(url, both.standby.url) as dal, served(dal) as client:
        for number in range(5):
            before = await both.primary.ask("SELECT pg_current_wal_insert_lsn() - '0/0'")
            position = Position.parse((await write(client, number))[HEADER])
            assert position is not None
            assert position.place > int(str(before))


@pytest.mark.parametrize(
    ("now", "has"),
    [
        (Position(1, 2, 100), True),
        (Position(1, 2, 99), False),
        (Position(1, 3, 100), True),
        (Position(1, 1, 200), False),  # it may be on a branch that the primary has left
        (Position(2, 2, 100), False),
    ],
)
def test_a_standby_has_what_was_written_before_on_its_own_way(now: Position, has: bool) -> None:
    assert replica._has(now, Position(1, 2, 100)) is has


async def test_a_snapshot_that_lasts_is_not_taken_on_the_replica(
    both: Pair, dal: DataAccessLayer
) -> None:
    """It would be older than the answer to whether the replica has come far enough."""
    position = Position.parse(str(await _position(both)))
    where = sa.select(sa.func.pg_is_in_recovery())
    for isolation, is_standby in {"READ COMMITTED": True, "REPEATABLE READ": False}.items():
        async with dal.transaction(readonly=True, isolation=isolation) as tx:
            tx.after = position
            assert await tx.fetch_value(where) is is_standby


async def test_in_pgbouncers_mode_it_is_asked_inside_of_the_transaction(both: Pair) -> None:
    async with (
        using(both.primary.url, both.standby.url, pgbouncer=True) as dal,
        served(dal) as client,
    ):
        headers = await write(client, 1)
        await both.catch_up()
        assert await read(client, "/things/1", headers=headers) == (True, True)
        await both.stand_still()
        headers = await write(client, 2)
        assert await read(client, "/things/2", headers=headers) == (True, False)


async def test_a_replica_url_that_leads_to_the_primary_is_read(both: Pair) -> None:
    async with (
        using(both.primary.url, both.primary.url + "&application_name=replica") as dal,
        served(dal) as client,
    ):
        headers = await write(client, 1)
        assert dal.replica is not None
        taken: list[object] = []
        original = dal.replica.lease

        async def noted(*arguments: Any, **options: Any) -> Any:
            taken.append(await original(*arguments, **options))
            return taken[-1]

        dal.replica.lease = noted  # type: ignore[method-assign]
        assert await read(client, "/things/1", headers=headers) == (True, False)
        assert taken[0] is not None


async def test_browsers_of_other_origins_may_send_and_read_it() -> None:
    origin = "https://app.example.com"
    app = FastAPI()
    async with calling(CorsMiddleware(app, [origin])) as client:
        asked = {"origin": origin, "access-control-request-method": "GET"}
        asked["access-control-request-headers"] = HEADER
        assert (await client.options("/", headers=asked)).status_code == 200
        exposed = (await client.get("/", headers={"origin": origin})).headers
        assert HEADER in exposed["access-control-expose-headers"]


async def _position(both: Pair) -> Position:
    position = await _written(both)
    await both.catch_up()
    return position


async def _written(both: Pair) -> Position:
    conn = await asyncpg.connect(both.primary.url)
    position = await written(conn)
    await conn.close()
    return position
