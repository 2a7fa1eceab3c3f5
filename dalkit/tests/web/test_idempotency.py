"""Idempotency-Key: repeated as often as a client likes, done once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import asyncpg
import httpx
import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, Form, Header, Request, Response
from fastapi.middleware import Middleware
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from sqlalchemy import make_url
from starlette.types import ASGIApp, Receive, Scope, Send

from dalkit import (
    AbortedTransaction,
    DataAccessLayer,
    IdempotentTransaction,
    Problem,
    SerializableTransaction,
    Transaction,
    TransactionMiddleware,
)
from dalkit.auth import AuthMiddleware, CurrentUser
from dalkit.data.engine import create_engine
from dalkit.dev.issuer import Issuer
from dalkit.schema import create_idempotency_table
from dalkit.web import (
    document,
    idempotent_transaction,
    index_routes,
    problem_handlers,
    sweep_idempotency_keys,
)
from dalkit.web.idempotency import LARGEST_ANSWER

from tests.auth.conftest import accepting, serving
from tests.serving import Cutter
from tests.soak import rounds
from tests.web.apps import calling
from tests.web.request_path import TABLES

KEY = "Idempotency-Key"
REPLAYED = "idempotent-replayed"
OWN = Path(__file__).read_bytes()


@pytest.fixture
async def observer(committed_database: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the database, with the tables."""
    conn = await asyncpg.connect(committed_database)
    await conn.execute(TABLES + "; DROP TABLE IF EXISTS idempotency_key")
    await conn.execute("DROP SEQUENCE IF EXISTS ids; CREATE SEQUENCE ids")
    engine = create_engine(committed_database)
    async with engine.begin() as sqlalchemys:
        await sqlalchemys.run_sync(
            lambda sync: create_idempotency_table(Operations(MigrationContext.configure(sync)))
        )
    await engine.dispose()
    yield conn
    await conn.execute("DROP TABLE IF EXISTS idempotency_key; DROP SEQUENCE ids")
    await conn.close()


@pytest.fixture
async def dal(
    observer: asyncpg.Connection, committed_database: str
) -> AsyncIterator[DataAccessLayer]:
    """The tables."""
    async with DataAccessLayer.connect(committed_database, pool_size=10) as it:
        yield it


class SubjectMiddleware:
    """Leaves the subject where AuthMiddleware would."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        subject = dict(scope["headers"]).get(b"x-subject", b"ada").decode()
        scope["state"] = {**(scope.get("state") or {}), "user_sub": subject}
        await self.app(scope, receive, send)


@asynccontextmanager
async def served(dal: DataAccessLayer, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application with a route for each way to end."""
    app = FastAPI(
        middleware=[
            Middleware(SubjectMiddleware),
            Middleware(TransactionMiddleware, dal=dal, **options),
        ],
        exception_handlers=problem_handlers,
    )
    app.state.done, app.state.runs, app.state.go = [], 0, asyncio.Event()
    app.state.fails = False
    app.state.go.set()

    async def insert(tx: Any, number: int) -> Any:
        thing = tx.get_table("thing")
        new = sa.insert(thing).values(id=sa.func.nextval("ids"), n=number).returning(thing.c.id)
        return await tx.fetch_value(new)

    @app.post("/things/{number}", status_code=201)
    async def add(
        number: int, tx: IdempotentTransaction, response: Response, tasks: BackgroundTasks
    ) -> dict[str, Any]:
        app.state.runs += 1
        id_ = await insert(tx, number)
        await app.state.go.wait()
        response.headers.update({"location": f"/things/{id_}", "etag": f'"{id_}"'})
        response.set_cookie("session", "secret")
        tasks.add_task(app.state.done.append, id_)
        return {"id": id_}

    @app.post("/bodies")
    async def add_body(body: dict[str, int], tx: IdempotentTransaction) -> int:
        return int(await insert(tx, body["n"]))

    @app.post("/forms")
    async def add_form(n: Annotated[int, Form()], tx: IdempotentTransaction) -> int:
        return int(await insert(tx, n))

    @app.post("/raw")
    async def add_raw(request: Request, tx: IdempotentTransaction) -> int:
        return int(await insert(tx, len(await request.body())))

    @app.post("/fails/{status}")
    async def fail(status: int, tx: IdempotentTransaction) -> Any:
        app.state.runs += 1
        await insert(tx, status)
        if app.state.runs == 1:
            if status == 500:
                raise ArithmeticError
            raise Problem(status)
        return JSONResponse({}, 200)

    @app.post("/large")
    async def answer_at_length(tx: IdempotentTransaction, size: int) -> Response:
        await insert(tx, 1)
        return Response("x" * size)

    @app.post("/parts")
    async def answer_in_parts(tx: IdempotentTransaction) -> StreamingResponse:
        await insert(tx, 1)

        async def parts() -> AsyncIterator[str]:
            yield "a"
            yield "b"

        return StreamingResponse(parts())

    @app.post("/swallowed")
    async def swallow(tx: IdempotentTransaction) -> None:
        try:
            await tx.execute(sa.text("SELECT 1 / 0"))
        except sa.exc.DBAPIError:
            pass

    @app.get("/things")
    async def read(tx: IdempotentTransaction) -> Any:
        return await tx.fetch_value(sa.select(sa.func.count()).select_from(tx.get_table("thing")))

    @app.post("/plain", dependencies=[Depends(idempotent_transaction)])
    async def add_plainly(tx: Transaction) -> int:
        return int(await insert(tx, 1))

    async def failing_at_its_end() -> AsyncIterator[None]:
        try:
            yield
        finally:
            if app.state.fails:
                raise ArithmeticError

    @app.post("/ends", dependencies=[Depends(failing_at_its_end)])
    async def end(tx: IdempotentTransaction) -> int:
        return int(await insert(tx, 1))

    @app.post("/increment")
    async def increment(tx: SerializableTransaction, _: IdempotentTransaction) -> Any:
        thing = tx.get_table("thing")
        n = await tx.fetch_value(sa.select(thing.c.n).where(thing.c.id == 1))
        await tx.execute(sa.update(thing).where(thing.c.id == 1).values(n=n + 1))
        return n + 1

    index_routes(app)
    document(app)
    async with calling(app) as client:
        client.app = app  # type: ignore[attr-defined]
        yield client


@pytest.fixture
async def client(dal: DataAccessLayer) -> AsyncIterator[httpx.AsyncClient]:
    """Of the application as it is."""
    async with served(dal) as it:
        yield it


def state_of(client: Any) -> Any:
    """What the application has counted."""
    return client.app.state


def of(key: str, **more: str) -> dict[str, str]:
    """The headers of a request."""
    return {KEY: key, **more}


async def count(observer: asyncpg.Connection, table: str = "thing") -> int:
    """The rows that are committed."""
    return int(await observer.fetchval(f"SELECT count(*) FROM {table}"))


async def test_a_repeated_request_gets_the_answer_of_the_first(
    client: httpx.AsyncClient, observer: asyncpg.Connection
) -> None:
    first = await client.post("/things/7", headers=of("a"))
    assert (first.status_code, first.json()) == (201, {"id": 1})
    assert "set-cookie" in first.headers
    assert REPLAYED not in first.headers
    client.cookies.clear()
    for key in ("a", '"a"'):  # as a structured string, too
        again = await client.post("/things/7", headers=of(key))
        assert (again.status_code, again.content) == (201, first.content)
        for name in ("location", "etag", "content-type", "content-length"):
            assert again.headers[name] == first.headers[name]
        assert again.headers[REPLAYED] == "true"
        assert "set-cookie" not in again.headers
    assert (await client.post("/things/7", headers=of("b"))).json() == {"id": 2}
    assert (await client.post("/things/7")).json() == {"id": 3}
    assert (await count(observer), await count(observer, "idempotency_key")) == (3, 2)
    assert (state_of(client).runs, state_of(client).done) == (3, [1, 2, 3])


@pytest.mark.parametrize(
    ("first", "other"),
    [
        (("/bodies", {"json": {"n": 1}}), ("/bodies", {"json": {"n": 2}})),
        (("/raw", {"content": b"a"}), ("/raw", {"content": b"b"})),
        (("/raw?a=1", {"content": b"a"}), ("/raw?a=2", {"content": b"a"})),
        (("/forms", {"data": {"n": "1"}}), ("/forms", {"data": {"n": "2"}})),
        (("/things/1", {}), ("/things/2", {})),
        (("/things/1", {}), ("/plain", {})),
    ],
)
async def test_another_request_with_the_key_is_refused(
    client: httpx.AsyncClient, observer: asyncpg.Connection, first: Any, other: Any
) -> None:
    (path, options), (other_path, others) = first, other
    done = await client.post(path, headers=of("a"), **options)
    assert done.status_code < 300
    assert (await client.post(other_path, headers=of("a"), **others)).status_code == 422
    again = await client.post(path, headers=of("a"), **options)
    assert (again.content, again.headers[REPLAYED]) == (done.content, "true")
    assert await count(observer) == 1


async def test_the_key_of_somebody_else_is_another_key(client: httpx.AsyncClient) -> None:
    for number, subject in enumerate(("ada", "bob"), 1):
        response = await client.post("/things/1", headers=of("a", **{"x-subject": subject}))
        assert response.json() == {"id": number}


async def test_an_owner_says_whose_keys_they_are(dal: DataAccessLayer) -> None:
    def tenant_of(request: Request) -> str:
        return request.headers["x-tenant"]

    async with served(dal, principal=tenant_of) as client:
        for subject, tenant, number in (("ada", "x", 1), ("bob", "x", 1), ("ada", "y", 2)):
            headers = of("a", **{"x-subject": subject, "x-tenant": tenant})
            assert (await client.post("/things/1", headers=headers)).json() == {"id": number}


async def test_a_request_under_way_is_told_so(
    client: httpx.AsyncClient, observer: asyncpg.Connection
) -> None:
    state = state_of(client)
    state.go.clear()
    first = asyncio.create_task(client.post("/things/1", headers=of("a")))
    async with asyncio.timeout(20):
        while not state.runs:
            await asyncio.sleep(0.01)
    second = await client.post("/things/1", headers=of("a"))
    assert (second.status_code, second.headers["retry-after"]) == (409, "1")
    others = asyncio.create_task(client.post("/things/1", headers=of("a", **{"x-subject": "bob"})))
    async with asyncio.timeout(20):
        while state.runs < 2:  # bob's key is another one
            await asyncio.sleep(0.01)
    state.go.set()
    assert [(await each).json() for each in (first, others)] == [{"id": 1}, {"id": 2}]
    again = await client.post("/things/1", headers=of("a"))
    assert (again.json(), again.headers[REPLAYED]) == ({"id": 1}, "true")


@pytest.mark.parametrize("wait", [0.0, 60.0])
async def test_two_hundred_tries_at_once_are_one_effect_and_one_answer(
    dal: DataAccessLayer, observer: asyncpg.Connection, wait: float
) -> None:
    async with served(dal, idempotency_wait=wait) as client:

        async def one() -> tuple[int, bytes]:
            while True:
                response = await client.post("/things/1", headers=of("a"))
                assert response.status_code != 409 or not wait
                if response.status_code not in (409, 503):  # the pool may be exhausted meanwhile
                    return response.status_code, response.content
                await asyncio.sleep(0.05)

        answers = await asyncio.gather(*(one() for _ in range(200)))
        assert set(answers) == {(201, b'{"id":1}')}
        assert (state_of(client).runs, state_of(client).done) == (1, [1])
    assert (await count(observer), await count(observer, "idempotency_key")) == (1, 1)


@pytest.mark.parametrize("status", [404, 409, 422, 500, 503])
async def test_a_failure_is_not_kept_and_may_be_tried_again(
    client: httpx.AsyncClient, observer: asyncpg.Connection, status: int
) -> None:
    assert (await client.post(f"/fails/{status}", headers=of("a"))).status_code == status
    assert (await count(observer), await count(observer, "idempotency_key")) == (0, 0)
    again = await client.post(f"/fails/{status}", headers=of("a"))
    assert again.status_code == 200
    assert REPLAYED not in again.headers
    assert await count(observer) == 1


@pytest.mark.parametrize("key", ["", '""', "a b", "x" * 256, "a\tb", "\xe4"])
async def test_a_key_that_is_none_is_refused(
    client: httpx.AsyncClient, observer: asyncpg.Connection, key: str
) -> None:
    headers = httpx.Headers([(KEY, key)], encoding="latin-1")
    assert (await client.post("/things/1", headers=headers)).status_code == 400
    twice = await client.post("/things/1", headers=[(KEY, "a"), (KEY, "b")])
    assert twice.status_code == 400
    assert await count(observer) == 0


async def test_the_longest_key_is_taken(client: httpx.AsyncClient) -> None:
    for _ in range(2):
        response = await client.post("/things/1", headers=of("x" * 255))
        assert response.json() == {"id": 1}


async def test_reading_leaves_no_row(
    client: httpx.AsyncClient, observer: asyncpg.Connection
) -> None:
    assert (await client.get("/things", headers=of("a"))).json() == 0
    assert await count(observer, "idempotency_key") == 0


async def test_a_mount_needs_the_dependency_only(
    client: httpx.AsyncClient, observer: asyncpg.Connection
) -> None:
    answers = [await client.post("/plain", headers=of("a")) for _ in range(3)]
    assert [answer.json() for answer in answers] == [1, 1, 1]
    assert await count(observer) == 1


async def test_a_defect_while_an_answer_is_repeated_gives_the_connection_back(
    client: httpx.AsyncClient,
) -> None:
    state = state_of(client)
    for state.fails, status in ((False, 200), (True, 500), (False, 200)):
        response = await client.post("/ends", headers=of("a"))
        assert response.status_code == status  # it is 409 while a connection holds the lock
    assert response.headers[REPLAYED] == "true"


async def test_an_answer_in_parts_is_kept_whole(client: httpx.AsyncClient) -> None:
    answers = [await client.post("/parts", headers=of("a")) for _ in range(2)]
    assert [answer.text for answer in answers] == ["ab", "ab"]


async def test_an_answer_that_is_too_large_is_a_defect_and_undone(
    client: httpx.AsyncClient, observer: asyncpg.Connection
) -> None:
    for _ in range(2):
        kept = await client.post(f"/large?size={LARGEST_ANSWER}", headers=of("a"))
        assert (kept.status_code, len(kept.content)) == (200, LARGEST_ANSWER)
    refused = await client.post(f"/large?size={LARGEST_ANSWER + 1}", headers=of("b"))
    assert refused.status_code == 500
    assert await count(observer) == 1
    assert (await client.post(f"/large?size={LARGEST_ANSWER + 1}")).status_code == 200


async def test_a_swallowed_error_is_not_kept_as_success(
    client: httpx.AsyncClient, observer: asyncpg.Connection
) -> None:
    transport = httpx.ASGITransport(client.app)  # type: ignore[attr-defined]
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as raising:
        with pytest.raises(AbortedTransaction):
            await raising.post("/swallowed", headers=of("a"))
    assert await count(observer, "idempotency_key") == 0


async def test_requests_that_run_again_are_kept_once(
    client: httpx.AsyncClient, observer: asyncpg.Connection
) -> None:
    await observer.execute("INSERT INTO thing VALUES (1, 0)")

    async def one(key: str) -> int:
        while True:
            response = await client.post("/increment", headers=of(key))
            if response.status_code == 200:
                return int(response.json())
            assert response.status_code in (409, 503)
            await asyncio.sleep(0.01)

    keys = [str(number) for number in range(20)]
    first, second = (
        await asyncio.gather(*map(one, keys * 2)),
        await asyncio.gather(*map(one, keys)),
    )
    assert sorted(second) == list(range(1, 21))
    assert first[:20] == first[20:] == second
    assert await observer.fetchval("SELECT n FROM thing") == 20


@pytest.mark.soak
async def test_a_commit_whose_answer_is_lost_is_settled_by_the_next_try(
    observer: asyncpg.Connection, committed_database: str
) -> None:
    target = make_url(committed_database)
    proxy = Cutter(str(target.host), int(target.port or 5432))
    total, lost = rounds(50, 500), 0
    async with proxy.listening() as port:
        through = target.set(port=port, query={"sslmode": "disable"})
        url = through.render_as_string(hide_password=False)
        async with DataAccessLayer.connect(url, pool_size=3) as dal, served(dal) as client:
            for number in range(total):
                proxy.cuts, proxy.cuts_answer = number % 2 == 0, number % 2 == 1
                response = await client.post(f"/things/{number}", headers=of(str(number)))
                assert response.status_code == 503
                proxy.cuts = proxy.cuts_answer = False
                while response.status_code in (409, 503):  # the first may still be under way
                    response = await client.post(f"/things/{number}", headers=of(str(number)))
                assert response.status_code == 201
                lost += REPLAYED in response.headers
    assert lost == total // 2  # they had been committed
    rows = await observer.fetch("SELECT n, count(*) AS times FROM thing GROUP BY n ORDER BY n")
    assert [(row["n"], row["times"]) for row in rows] == [(number, 1) for number in range(total)]
    assert await count(observer, "idempotency_key") == total


class Shop:
    """An application whose guards are declared after the key, and what they are told to do."""

    def __init__(
        self, dal: DataAccessLayer, issuer: Issuer, *, compiled: bool, **options: Any
    ) -> None:
        self.runs = 0
        self.banned: set[str] = set()
        auth0 = accepting(issuer)

        async def permitted(
            user: CurrentUser, request: Request, version: Annotated[int, Header()]
        ) -> None:
            request.state.shop = f"of {user.sub}"
            if user.sub in self.banned:
                raise Problem(403)

        async def counted(tx: Transaction) -> None:
            await tx.execute(sa.insert(tx.get_table("thing")).values(id=sa.func.nextval("ids")))

        @asynccontextmanager
        async def lifespan(_: FastAPI) -> AsyncIterator[None]:
            async with auth0:
                yield

        router = APIRouter(dependencies=[Depends(idempotent_transaction)])

        @router.post("/orders", dependencies=[Depends(counted)])
        async def order(user: CurrentUser, permission: Annotated[None, Depends(permitted)]) -> str:
            self.runs += 1
            return user.sub

        @router.post("/quick", dependencies=[Depends(counted), Depends(permitted)])
        def order_quickly(request: Request) -> str:
            self.runs += 1
            return str(request.state.user_sub)

        self.app = FastAPI(
            lifespan=lifespan,
            middleware=[
                Middleware(AuthMiddleware, auth0=auth0),
                Middleware(TransactionMiddleware, dal=dal, **options),
            ],
            exception_handlers=problem_handlers,
        )
        self.app.include_router(router)
        if compiled:
            index_routes(self.app)
        self._issuer = issuer

    def sent_by(self, name: str, **more: str) -> dict[str, str]:
        """The headers of somebody's request; the key is always the same."""
        token = self._issuer.token(sub=name)
        return of("a", version="1", authorization=f"Bearer {token}", **more)


@pytest.fixture(params=[True, False], ids=["compiled", "by FastAPI"])
def shop(request: pytest.FixtureRequest, dal: DataAccessLayer, issuer: Issuer) -> Shop:
    """The application, on both paths."""
    return Shop(dal, issuer, compiled=request.param)


@pytest.mark.parametrize("path", ["/orders", "/quick"])
async def test_two_users_with_one_key_never_get_the_answer_of_the_other(
    shop: Shop, path: str
) -> None:
    async with serving(shop.app) as client:
        for number in range(2):
            for name in ("ada", "bob"):
                answer = await client.post(path, headers=shop.sent_by(name))
                assert (answer.status_code, answer.json()) == (200, name)
                assert (REPLAYED in answer.headers) is (number == 1)
    assert shop.runs == 2


async def test_whose_a_key_is_may_be_what_a_later_dependency_has_found_out(
    dal: DataAccessLayer, issuer: Issuer, observer: asyncpg.Connection
) -> None:
    shop = Shop(dal, issuer, compiled=True, principal=lambda request: request.state.shop)
    async with serving(shop.app) as client:
        answer = await client.post("/orders", headers=shop.sent_by("ada"))
        assert answer.status_code == 200
    assert await observer.fetchval("SELECT principal FROM idempotency_key") == "of ada"


@pytest.mark.parametrize("path", ["/orders", "/quick"])
async def test_a_kept_answer_is_for_those_only_who_may_send_the_request_now(
    shop: Shop, path: str
) -> None:
    """Whatever is declared after the key, and in whatever order."""
    async with serving(shop.app) as client:
        headers = shop.sent_by("ada")
        assert (await client.post(path, headers=headers)).status_code == 200
        shop.banned.add("ada")
        assert (await client.post(path, headers=headers)).status_code == 403
        del headers["authorization"]
        assert (await client.post(path, headers=headers)).status_code == 401
        shop.banned.clear()
        again = await client.post(path, headers=shop.sent_by("ada"))
        assert (again.status_code, again.headers[REPLAYED]) == (200, "true")


async def test_a_parameter_that_is_not_valid_gets_no_kept_answer(shop: Shop) -> None:
    """FastAPI does not call the dependency that it is for, which here is the guard."""
    async with serving(shop.app) as client:
        headers = shop.sent_by("ada")
        assert (await client.post("/orders", headers=headers)).status_code == 200
        shop.banned.add("ada")
        assert (await client.post("/orders", headers=headers | {"version": "x"})).status_code == 422


async def test_what_dependencies_write_while_an_answer_is_repeated_is_undone(
    shop: Shop, observer: asyncpg.Connection
) -> None:
    async with serving(shop.app) as client:
        for _ in range(3):
            assert (await client.post("/orders", headers=shop.sent_by("ada"))).status_code == 200
    assert (await count(observer), await count(observer, "idempotency_key")) == (1, 1)


@pytest.fixture
async def files(dal: DataAccessLayer) -> AsyncIterator[httpx.AsyncClient]:
    """Of an application that answers with files, behind a server that sends them by their path."""

    class PathsendMiddleware:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            scope["extensions"] = {"http.response.pathsend": {}}
            await self.app(scope, receive, send)

    middleware = [Middleware(PathsendMiddleware), Middleware(TransactionMiddleware, dal=dal)]
    app = FastAPI(middleware=middleware, exception_handlers=problem_handlers)

    async def insert(tx: Transaction) -> None:
        await tx.execute(sa.insert(tx.get_table("thing")).values(id=sa.func.nextval("ids")))

    @app.post("/file", dependencies=[Depends(insert), Depends(idempotent_transaction)])
    async def answer_with_a_file() -> FileResponse:
        return FileResponse(__file__)

    class ByPath(Response):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.pathsend", "path": __file__})

    @app.post("/path", dependencies=[Depends(insert), Depends(idempotent_transaction)])
    async def answer_with_a_path() -> ByPath:
        return ByPath()

    @app.post("/rows", dependencies=[Depends(insert), Depends(idempotent_transaction)])
    async def answer_with_rows() -> AsyncIterator[int]:
        yield 1

    async with calling(app) as client:
        yield client


async def test_a_file_is_kept_whole(files: httpx.AsyncClient) -> None:
    for number in range(2):
        answer = await files.post("/file", headers=of("a"))
        assert (answer.status_code, answer.content) == (200, OWN)
        assert (REPLAYED in answer.headers) is (number == 1)


@pytest.mark.parametrize("path", ["/path", "/rows"])
async def test_an_answer_that_cannot_be_kept_is_a_defect_and_undone(
    files: httpx.AsyncClient, observer: asyncpg.Connection, path: str
) -> None:
    for _ in range(2):
        assert (await files.post(path, headers=of("a"))).status_code == 500
    assert (await count(observer), await count(observer, "idempotency_key")) == (0, 0)
    if path == "/rows":
        assert (await files.post(path)).status_code == 200
        assert await count(observer) == 1


async def test_old_answers_are_swept(
    client: httpx.AsyncClient, dal: DataAccessLayer, observer: asyncpg.Connection
) -> None:
    for key in "abcd":
        await client.post("/things/1", headers=of(key))
    old = "UPDATE idempotency_key SET created_at = now() - interval '25 hours' WHERE key < 'd'"
    await observer.execute(old)
    async with dal.transaction() as tx:
        assert await sweep_idempotency_keys(tx, most=1) == 1
        assert await sweep_idempotency_keys(tx, age=timedelta(hours=26)) == 0
        assert await sweep_idempotency_keys(tx) == 2
        assert await sweep_idempotency_keys(tx) == 0
    assert await observer.fetchval("SELECT key FROM idempotency_key") == "d"
    assert (await client.post("/things/1", headers=of("a"))).json() == {"id": 5}


async def test_without_the_table_an_owner_is_told_what_to_do(
    dal: DataAccessLayer, observer: asyncpg.Connection
) -> None:
    await observer.execute("DROP TABLE idempotency_key")
    app = FastAPI(middleware=[Middleware(TransactionMiddleware, dal=dal)])

    @app.post("/")
    async def add(tx: IdempotentTransaction) -> None: ...

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        with pytest.raises(RuntimeError, match="create_idempotency_table"):
            await client.post("/", headers=of("a"))
        assert (await client.post("/")).status_code == 200


async def test_the_document_tells_of_the_header_and_its_answers(client: Any) -> None:
    paths = client.app.openapi()["paths"]
    operation = paths["/bodies"]["post"]
    [header] = [each for each in operation["parameters"] if each["in"] == "header"]
    assert (header["name"].lower(), header["required"]) == (KEY.lower(), False)
    assert {"400", "409", "422", "503"} <= operation["responses"].keys()
    assert "409" not in paths["/things"]["get"]["responses"]


async def test_a_framework_that_does_not_ask_before_the_handler_does_nothing_unseen(
    client: httpx.AsyncClient, observer: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What runs without a look at the key is undone, and not answered as if it were done."""
    monkeypatch.setattr("dalkit.web.idempotency._ask_before_handler", lambda dependant: None)
    assert (await client.post("/things/7", headers=of("a"))).status_code == 500
    assert await count(observer) == 0
