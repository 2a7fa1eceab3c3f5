"""What is wrong with a replica costs no request: it reads from the primary."""

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest

from dalkit import DatabaseUnreachable
from dalkit.data import replica
from dalkit.data.engine import create_engine
from dalkit.data.urls import async_url
from dalkit.database import _ask_revision
from dalkit.fast import wire

from tests.data.proxy import proxied
from tests.replica.conftest import served, sleeping, using
from tests.replica.servers import Pair, pair
from tests.replica.test_read_your_writes import HEADER, read, write


async def until_back(client: httpx.AsyncClient) -> None:
    """Read until the replica answers."""
    async with asyncio.timeout(30):
        while not (await read(client, "/things/1"))[1]:
            await asyncio.sleep(0.01)


@pytest.fixture
def own() -> Iterator[Pair]:
    """Two servers for a test that ends one of them."""
    with pair() as it:
        yield it


async def test_a_replica_that_is_gone_is_asked_now_and_then_until_it_is_back(
    own: Pair, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="dalkit.data.replica")
    async with using(own.primary.url, own.standby.url) as dal, served(dal) as client:
        headers = await write(client, 1)
        await own.catch_up()
        own.standby.stop(signal.SIGQUIT)
        for path in ("/things/1", "/search/1"):
            method = client.post if path == "/search/1" else client.get
            for more in ({}, headers):
                response = await method(path, headers=more)
                assert (response.status_code, response.json()["standby"]) == (200, False)
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        own.standby.start()
        assert await read(client, "/things/1") == (True, False)
        monkeypatch.setattr(replica, "PAUSE", 0.0)
        monkeypatch.setattr(dal.replica, "_next_try", 0.0)
        await until_back(client)
        assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


@contextmanager
def black_hole(*, is_full: bool) -> Iterator[socket.socket]:
    """Listens and never answers; when it `is_full`, the kernel drops what would connect."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        listener.setblocking(False)
        for _ in range(8 if is_full else 0):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener


@pytest.mark.parametrize("is_full", [False, True], ids=["silent", "full"])
async def test_no_request_waits_for_a_replica_that_is_known_to_be_away(
    both: Pair, is_full: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One task at a time looks for it, as long as that takes."""
    with black_hole(is_full=is_full) as listener:
        port = listener.getsockname()[1]
        url = f"postgresql://postgres@127.0.0.1:{port}/postgres?sslmode=disable"
        async with using(both.primary.url, url, connect_timeout=600) as dal, served(dal) as client:
            assert dal.replica is not None
            dal.replica.failed(DatabaseUnreachable("It is away."))
            monkeypatch.setattr(dal.replica, "_next_try", 0.0)
            trials = set()
            async with asyncio.timeout(30):
                for _ in range(20):
                    assert await read(client, "/things/1") == (False, False)
                    trials.add(dal.replica._trial)
            [trial] = trials
            assert trial is not None
            assert not trial.done()
        assert trial.cancelled()


async def test_connections_from_before_an_outage_are_not_taken_again(
    both: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may be dead without knowing it, and each would cost a request its deadline."""
    async with (
        proxied(both.standby.url) as (proxy, through),
        using(both.primary.url, through + "&command_timeout=600") as dal,
        served(dal) as client,
    ):
        assert dal.replica is not None
        taken = [await dal.replica.checkout.take() for _ in range(5)]
        for one in taken:
            dal.replica.checkout.put_back(one)
        for link in proxy.links:
            link.is_lost = True
        dal.replica.failed(DatabaseUnreachable("It is away."))
        monkeypatch.setattr(dal.replica, "_next_try", 0.0)
        await until_back(client)
        async with asyncio.timeout(30):
            reads = await asyncio.gather(*(read(client, "/things/1") for _ in range(5)))
        assert reads == [(False, True)] * 5


async def test_a_read_takes_a_free_connection_of_the_primary_when_the_replica_has_none(
    both: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But never one that others wait for."""
    async with using(both.primary.url, both.standby.url, pool_timeout=600) as dal:
        assert dal.replica is not None
        replicas, primarys = dal.replica.checkout, dal.replica._primary
        taken = [await replicas.take() for _ in range(5)]
        async with served(dal) as client, asyncio.timeout(60):
            assert await read(client, "/things/1") == (False, False)
            held = [await primarys.take() for _ in range(5)]
            reading = asyncio.create_task(read(client, "/things/1"))
            while not replicas._waiting:
                await asyncio.sleep(0)
            replicas.put_back(taken.pop())
            assert await reading == (False, True)
            taken.append(await replicas.take())
            monkeypatch.setattr(replicas._pool, "_timeout", 0.05)
            assert (await client.get("/things/1")).status_code == 503
        for checkout, some in ((replicas, taken), (primarys, held)):
            for one in some:
                checkout.put_back(one)


@pytest.mark.parametrize("how", [signal.SIGQUIT, signal.SIGINT])
async def test_a_replica_that_ends_in_a_statement_leaves_the_request_to_the_primary(
    own: Pair, how: signal.Signals
) -> None:
    async with using(own.primary.url, own.standby.url) as dal, served(dal) as client:
        asking = asyncio.create_task(client.get("/sleep"))
        await sleeping(own)
        await asyncio.to_thread(own.standby.stop, how)
        response = await asking
        assert (response.status_code, response.text) == (200, "false")


async def test_a_conflict_with_recovery_leaves_the_request_to_the_primary(
    both: Pair, client: httpx.AsyncClient
) -> None:
    await write(client, 1)
    await both.catch_up()
    await both.configure(max_standby_streaming_delay="0")
    try:
        asking = asyncio.create_task(client.get("/sleep"))
        await sleeping(both)
        await both.primary.ask("DELETE FROM thing")
        await both.primary.ask("VACUUM thing")
        response = await asking
        assert (response.status_code, response.text) == (200, "false")
    finally:
        await both.configure(max_standby_streaming_delay="30s")


async def test_a_promoted_replica_is_none_any_more(own: Pair) -> None:
    async with using(own.primary.url, own.standby.url) as dal, served(dal) as client:
        before = await write(client, 1)
        await own.catch_up()
        assert await read(client, "/things/1", headers=before) == (True, True)
        await own.standby.ask("SELECT pg_promote()")
        after = await write(client, 2)  # it is on the old primary only
        assert await read(client, "/things/2", headers=after) == (True, False)
        assert await read(client, "/things/1", headers=before) == (True, False)
        assert await read(client, "/things/2") == (True, False)


async def test_an_old_branch_has_not_what_is_written_on_the_new_one(own: Pair) -> None:
    """The place in the log says nothing about another timeline."""
    await own.standby.ask("SELECT pg_promote()")
    for number in range(100, 200):
        await own.primary.ask(f"INSERT INTO thing VALUES ({number}) RETURNING 1")
    async with using(own.standby.url, own.primary.url) as dal, served(dal) as client:
        headers = await write(client, 1)
        assert await read(client, "/things/1", headers=headers) == (True, False)


@pytest.mark.parametrize("with_header", [True, False])
async def test_a_silent_replica_leaves_the_request_to_the_primary(
    both: Pair, with_header: bool, patience: Callable[[float], None]
) -> None:
    """So that the next request need not find out, too."""
    async with (
        proxied(both.standby.url) as (proxy, through),
        using(both.primary.url, through + "&command_timeout=60") as dal,
        served(dal) as client,
    ):
        headers = await write(client, 1)
        await both.catch_up()
        assert await read(client, "/things/1") == (True, True)
        proxy.is_silent = True
        patience(0.1)
        assert dal.replica is not None
        taken: Any = await dal.replica.checkout.take()
        wire.set_deadline(taken.driver_connection, 0.1)
        dal.replica.checkout.put_back(taken)
        more = headers if with_header else {}
        assert await read(client, "/things/1", headers=more) == (True, False)
        assert dal.replica._is_away


async def test_a_silent_replica_is_not_back_because_it_has_idle_connections(
    both: Pair, monkeypatch: pytest.MonkeyPatch, patience: Callable[[float], None]
) -> None:
    async with (
        proxied(both.standby.url) as (proxy, through),
        using(both.primary.url, through + "&command_timeout=60", connect_timeout=1) as dal,
        served(dal) as client,
    ):
        assert dal.replica is not None
        taken = [await dal.replica.checkout.take() for _ in range(2)]
        for one in taken:
            dal.replica.checkout.put_back(one)
        proxy.is_silent = True
        patience(0.1)
        dal.replica.failed(DatabaseUnreachable("It is away."))
        monkeypatch.setattr(dal.replica, "_next_try", 0.0)
        assert await read(client, "/things/1") == (False, False)
        assert dal.replica._trial is not None
        await asyncio.wait([dal.replica._trial])
        assert dal.replica._is_away


async def test_without_the_primary_the_replica_reads_on(own: Pair) -> None:
    async with using(own.primary.url, own.standby.url) as dal, served(dal) as client:
        headers = await write(client, 1)
        await own.catch_up()
        await own.stand_still()
        missing = await write(client, 2)
        own.primary.stop(signal.SIGQUIT)
        assert await read(client, "/things/1") == (True, True)
        assert await read(client, "/things/1", headers=headers) == (True, True)
        assert (await client.get("/things/2", headers=missing)).status_code == 503


async def test_while_none_of_several_hosts_is_the_primary_the_answer_is_503(both: Pair) -> None:
    url = both.standby.url + "&target_session_attrs=primary"
    async with using(both.primary.url, both.standby.url) as dal, served(dal) as client:
        engine = create_engine(url)
        dal.use(engine)
        assert (await client.post("/things/1")).status_code == 503
        await engine.dispose()
    with pytest.raises(DatabaseUnreachable, match="target"):
        await _ask_revision(async_url(url))


async def test_a_failover_in_the_middle_of_a_load_costs_nobody_his_own_writes(own: Pair) -> None:
    """Those who are turned away meanwhile are told so, with 503."""
    hosts = f"127.0.0.1:{own.primary.port},127.0.0.1:{own.standby.port}"
    url = f"postgresql://postgres@{hosts}/postgres?sslmode=disable&target_session_attrs="
    acknowledged: list[int] = []
    failed_over, done = asyncio.Event(), asyncio.Event()
    unexpected: list[object] = []
    untold: list[bool] = []

    async def one(client: httpx.AsyncClient, number: int) -> None:
        after = 0
        while after < 5:
            number += 1000
            response = await client.post(f"/things/{number}")
            if response.status_code == 503:
                await asyncio.sleep(0.01)
                continue
            if response.status_code != 201:
                unexpected.append((response.status_code, response.text))
                return
            acknowledged.append(number)
            if HEADER not in response.headers:  # the connection was lost after COMMIT had answered
                untold.append(failed_over.is_set())
                continue
            given = {HEADER: response.headers[HEADER]}
            response = await client.get(f"/things/{number}", headers=given)
            if response.status_code == 200:
                after += failed_over.is_set()
                if not response.json()["found"]:
                    unexpected.append((number, given))
            elif response.status_code != 503:
                unexpected.append(response.status_code)
        done.set()

    async with (
        using(url + "primary", url + "prefer-standby") as dal,
        served(dal) as client,
        asyncio.TaskGroup() as tasks,
    ):
        for number in range(20):
            tasks.create_task(one(client, number))
        while len(acknowledged) < 100:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(own.primary.stop, signal.SIGINT)  # the standby gets all of its log
        await own.standby.ask("SELECT pg_promote()")
        failed_over.set()
    assert unexpected == []
    assert len(untold) <= 20
    assert not any(untold)
    ids = ", ".join(map(str, acknowledged))
    query = f"SELECT count(*) FROM thing WHERE id IN ({ids})"
    assert await own.standby.ask(query) == len(acknowledged)
