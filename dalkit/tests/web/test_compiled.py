"""A compiled route gives the answers of FastAPI's own handler, and gives way where it might not."""

import dataclasses
import json
import random
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import product
from typing import Annotated, Any, Literal

import fastapi
import httpx
import pytest
import structlog
from fastapi import (
    APIRouter,
    BackgroundTasks,
    Body,
    Cookie,
    Depends,
    FastAPI,
    File,
    Form,
    Header,
    HTTPException,
    Path,
    Query,
    Request,
    Response,
    Security,
)
from fastapi.dependencies import utils
from fastapi.dependencies.models import Dependant
from fastapi.responses import PlainTextResponse, StreamingResponse
from fastapi.routing import APIRoute
from fastapi.routing import APIRouter as Router
from fastapi.security import SecurityScopes
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import AfterValidator, AliasChoices, BaseModel, ConfigDict, Field
from starlette.requests import HTTPConnection

from dalkit.web import compiled, plan, route_index
from dalkit.web.compiled import CompiledRoute, OtherRoute, compile_routes
from dalkit.web.route_index import index_routes

Headers = list[tuple[bytes, bytes]]
Chunks = list[bytes | Exception]
Answer = tuple[int | str, Headers, bytes, list[Any]]

#: What the handlers and dependencies of a request did, in order.
CALLS: list[Any] = []


def odd(number: int) -> int:
    if number % 2 == 0:
        raise ValueError("is even")
    return number


class Filters(BaseModel):
    """A query model as list endpoints have them."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(20, ge=1, le=100)
    title__icontains: str | None = None
    id__in: list[Annotated[int, AfterValidator(odd)]] | None = None
    order_by: Literal["id", "-id"] = "id"
    ratio: float | None = None


class Open(BaseModel):
    """A query model that takes anything else, too."""

    model_config = ConfigDict(extra="allow")

    name: str = Field("nobody", alias="who")


class Renamed(BaseModel):
    """A query model whose fields have several names."""

    model_config = ConfigDict(populate_by_name=True)

    name: str = Field("nobody", alias="who")
    code: int = Field(0, validation_alias=AliasChoices("code", "limit"))


class Thing(BaseModel):
    """A body."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1)
    price: float | None = None
    tags: set[str] = set()


class Shown(BaseModel):
    """An answer, other than what is returned."""

    name: str
    secret: str = Field(exclude=True, default="s")
    size: int | None = Field(serialization_alias="Size", default=0)


async def connection_path(connection: HTTPConnection) -> str:
    CALLS.append("connection_path")
    return connection.url.path


async def counted(path: Annotated[str, Depends(connection_path)]) -> int:
    CALLS.append("counted")
    return len(CALLS)


async def tagged(response: Response, if_none_match: Annotated[str | None, Header()] = None) -> str:
    CALLS.append(("tagged", if_none_match))
    if if_none_match == '"same"':
        raise HTTPException(304, headers={"etag": '"same"'})
    response.headers["etag"] = '"new"'
    response.headers.append("x-many", "1")
    response.headers.append("x-many", "2")
    return "tagged"


async def allowed(required: SecurityScopes, request: Request) -> str:
    CALLS.append(("allowed", required.scopes))
    if "x-forbidden" in request.headers:
        raise HTTPException(403, "Not you.")
    return required.scope_str


class Missing(Exception):
    """Has a handler."""


async def broken_stream() -> AsyncIterator[bytes]:
    yield b"a part"
    raise Missing


class Handlers:
    """The handlers of the routes; what they do is kept in CALLS."""

    async def get(
        self, thing_id: int, length: Annotated[int, Depends(counted)], request: Request
    ) -> dict[str, Any]:
        scope = request.scope
        context = scope.get("fastapi", {}).get("effective_route_context")
        CALLS.append(("get", thing_id, length, scope["route"].path, scope["endpoint"].__name__))
        CALLS.append((request.path_params, getattr(context, "path", None)))
        return {"id": thing_id, "length": length}

    async def page(self, query: Annotated[Filters, Query()], request: Request) -> dict[str, Any]:
        CALLS.append("page")
        return {"query": query.model_dump(), "next": str(request.url.include_query_params(a=1))}

    async def open(self, query: Annotated[Open, Query()]) -> Open:
        CALLS.append("open")
        return query

    async def renamed(self, query: Annotated[Renamed, Query()]) -> dict[str, Any]:
        CALLS.append("renamed")
        return query.model_dump()

    async def short(self) -> Shown:
        CALLS.append("short")
        return Shown(name="short", size=None)

    async def plain(
        self,
        q: str | None = None,
        many: Annotated[list[int], Query()] = [],  # noqa: B006 - as people write it
        agent: Annotated[str | None, Header(alias="user-agent")] = None,
        twice: Annotated[list[str] | None, Header()] = None,
    ) -> list[Any]:
        CALLS.append("plain")
        return [q, many, agent, twice]

    async def create(self, thing: Thing, mark: Annotated[str, Depends(tagged)]) -> Thing:
        CALLS.append(("create", thing.model_dump(), sorted(thing.model_fields_set)))
        return thing

    async def anything(self, body: Annotated[Any, Body()]) -> Any:
        CALLS.append(("anything", repr(body)))
        return "fine"

    async def optional(self, thing: Thing | None = None) -> Shown:
        CALLS.append("optional")
        return Shown(name=thing.name if thing else "none", size=2)

    async def conditional(self, thing_id: str, mark: Annotated[str, Depends(tagged)]) -> Shown:
        CALLS.append("conditional")
        return Shown(name=f"{mark} {thing_id}")

    async def status(self, response: Response, code: int) -> dict[str, int]:
        CALLS.append("status")
        response.status_code = code
        response.set_cookie("a", "b")
        return {"code": code}

    async def own(self, kind: str) -> dict[str, str] | Any:
        CALLS.append(("own", kind))
        if kind == "response":
            return PlainTextResponse("own", 202, headers={"x-own": "1"})
        if kind == "stream":
            return StreamingResponse(broken_stream())
        if kind == "http":
            raise HTTPException(418, {"why": "teapot"}, headers={"x-tea": "1"})
        if kind == "handled":
            raise Missing
        if kind == "broken":
            raise ValueError("broken")
        return {"kind": kind}

    async def untrue(self, size: str) -> Shown:
        CALLS.append("untrue")
        return {"name": size, "size": size}  # type: ignore[return-value]

    async def repeated(
        self,
        first: Annotated[int, Depends(counted)],
        second: Annotated[int, Depends(counted)],
        third: Annotated[int, Depends(counted, use_cache=False)],
        fourth: Annotated[int, Depends(counted)],
    ) -> list[int]:
        CALLS.append("repeated")
        return [first, second, third, fourth]

    async def guarded(self, scopes: Annotated[str, Security(allowed, scopes=["inner"])]) -> str:
        CALLS.append("guarded")
        return scopes


ROUTES: dict[tuple[str, str], Callable[..., Any]] = {
    ("GET", "/things/{thing_id}"): Handlers().get,
    ("GET", "/things"): Handlers().page,
    ("POST", "/things"): Handlers().create,
    ("GET", "/open"): Handlers().open,
    ("GET", "/plain"): Handlers().plain,
    ("GET", "/renamed"): Handlers().renamed,
    ("GET", "/short"): Handlers().short,
    ("POST", "/anything"): Handlers().anything,
    ("PUT", "/optional"): Handlers().optional,
    ("GET", "/conditional/{thing_id}"): Handlers().conditional,
    ("GET", "/status"): Handlers().status,
    ("GET", "/own/{kind}"): Handlers().own,
    ("GET", "/untrue/{size}"): Handlers().untrue,
    ("GET", "/repeated"): Handlers().repeated,
    ("GET", "/guarded"): Handlers().guarded,
}


#: What some of them are declared with.
OPTIONS: dict[str, dict[str, Any]] = {
    "/short": {"response_model_exclude_none": True},
    "/optional": {"response_model_by_alias": False, "response_model_exclude_defaults": True},
    "/conditional/{thing_id}": {"response_model_include": {"name"}},
    "/things": {"status_code": 201},
}


async def answer_missing(request: Request, error: Exception) -> Response:
    return PlainTextResponse(f"missing {request.url.path}", 404)


def application(*, compiled: bool, **options: Any) -> FastAPI:
    """An application with these routes, declared in it and included with a guard."""
    app = FastAPI(exception_handlers={Missing: answer_missing}, **options)
    router = APIRouter()
    for (method, path), handler in ROUTES.items():
        for target in (app.router, router):
            target.add_api_route(path, handler, methods=[method], **OPTIONS.get(path, {}))
    app.include_router(router, prefix="/v1", dependencies=[Security(allowed, scopes=["outer"])])
    index_routes(app, compiled=compiled)
    return app


async def ask(
    app: FastAPI, method: str, target: str, headers: Headers, chunks: Chunks, **more: Any
) -> Answer:
    """Return what the application sends, or the error that it raises, and what was called."""
    path, _, query = target.partition("?")
    messages = [
        {"type": "http.request", "body": chunk, "more_body": number < len(chunks)}
        for number, chunk in enumerate(chunks, start=1)
    ]
    sent: list[Any] = []

    async def receive() -> Any:
        message = messages.pop(0) if messages else {"type": "http.disconnect"}
        if isinstance(body := message.get("body"), Exception):
            raise body
        return message

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "http_version": "1.1",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "headers": headers,
        "query_string": query.encode("utf-8", "surrogateescape"),
        "server": ("test", 80),
        **more,
    }
    CALLS.clear()
    error = None
    try:
        await app(scope, receive, send)
    except Exception as raised:  # noqa: BLE001 - compared
        error = f"{type(raised).__name__}: {raised}"
    starts = [message for message in sent if message["type"] == "http.response.start"]
    content = b"".join(message.get("body", b"") for message in sent)
    status, sent_headers = error or 0, []
    for start in starts:
        status, sent_headers = error or start["status"], start["headers"]
    return status, sent_headers, content, [len(starts), *CALLS]


PATHS = (
    *("/renamed", "/short", "/own/stream"),
    *("/things/1", "/things/-7", "/things/x", "/things/" + "9" * 5000, "/things/%31", "/things/"),
    *("/things", "/open", "/plain", "/repeated", "/guarded", "/optional", "/anything", "/status"),
    *("/conditional/a b", "/conditional/\x00", "/conditional/é", "/untrue/1", "/untrue/one"),
    *(f"/own/{kind}" for kind in ("response", "http", "handled", "broken", "fine")),
    "/nothing",
    "/openapi.json",
)
QUERIES = (
    *(
        "",
        "limit=5",
        "limit=0",
        "limit=five",
        "limit=5&limit=6",
        "unknown=1",
        "title__icontains=a+b",
    ),
    *(
        "id__in=1&id__in=3",
        "id__in=1&id__in=2",
        "id__in=",
        "order_by=-id",
        "order_by=name",
        "ratio=nan",
    ),
    *(
        "who=Ada",
        "name=Ada",
        "who=a&more=1&more=2",
        "q=%00",
        "q=%ff",
        "many=1&many=2",
        "many=x",
        "&&=",
    ),
    *(
        "code=200",
        "code=201",
        "code=204",
        "code=304",
        "code=x",
        "limit=5&title__icontains=%F0%9F%92%A9",
    ),
)
HEADERS: tuple[Headers, ...] = (
    [],
    [(b"content-type", b"application/json")],
    [(b"content-type", b"application/json; charset=utf-8")],
    [(b"content-type", b"application/problem+json")],
    [(b"content-type", b"text/plain")],
    [(b"content-type", b"APPLICATION/JSON;charset=latin-1")],
    [(b"if-none-match", b'"same"'), (b"content-type", b"application/json")],
    [(b"x-forbidden", b"1"), (b"content-type", b"application/json")],
    [(b"twice", b"a"), (b"twice", b"b"), (b"user-agent", b"test")],
)
BODIES = (
    *(b"", b"{}", b"null", b"[]", b"7", b'"text"', b"{", b"NaN", b'{"name": NaN}', b"\xff"),
    *(
        b'{"name": "a"}',
        b'{"name": ""}',
        b'{"name": "a", "price": 1e400}',
        b'{"name": "a", "x": 1}',
    ),
    *(
        b'{"name": "\\ud800"}',
        b'{"name": "\\u0000", "tags": ["b", "b"]}',
        b'{"name": 1}',
        b"[" * 100_000,
    ),
    *(
        b'{"name": "a", "name": "b"}',
        b'\xef\xbb\xbf{"name": "a"}',
        json.dumps({"name": "x" * 9}).encode(),
    ),
)
METHODS = ("GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE")


def requests() -> Iterator[tuple[str, str, Headers, Chunks]]:
    """Every path with every query, every body with every header, and as many mixed at random."""
    for prefix, path, query in product(("", "/v1"), PATHS, QUERIES):
        yield "GET", f"{prefix}{path}?{query}", HEADERS[0], [b""]
    for path, headers, body in product(
        ("/things", "/v1/things", "/anything", "/optional"), HEADERS, BODIES
    ):
        yield "PUT" if path == "/optional" else "POST", path, headers, [body]
    for error in (HTTPException(413, "Too large."), RuntimeError("cut off")):
        yield "POST", "/things", HEADERS[1], [b'{"name": ', error]
    chosen = random.Random(7)
    for _ in range(1500):
        body = chosen.choice(BODIES)
        cut = chosen.randint(0, len(body))
        target = f"{chosen.choice(('', '/v1'))}{chosen.choice(PATHS)}?{chosen.choice(QUERIES)}"
        yield chosen.choice(METHODS), target, chosen.choice(HEADERS), [body[:cut], body[cut:]]


async def test_thousands_of_requests_get_the_same_answer_and_the_same_calls() -> None:
    ours, fastapis = application(compiled=True), application(compiled=False)
    asked, answered = 0, set()
    for request in requests():
        answer = await ask(ours, *request)
        expected = await ask(fastapis, *request)
        assert answer == expected, request
        asked += 1
        answered.add(expected[0])
    assert asked > 3000
    assert {200, 201, 304, 400, 403, 404, 405, 418, 422, 202} <= answered


VALID = (
    *(("GET", "/things/1"), ("GET", "/v1/things?id__in=1&id__in=3&limit=5"), ("GET", "/things")),
    *(("GET", "/plain?q=a&many=1&many=2"), ("POST", "/v1/things"), ("PUT", "/optional")),
    *(("GET", "/conditional/a"), ("GET", "/guarded"), ("GET", "/own/response")),
)


@pytest.fixture
def solved(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What FastAPI's own handler has looked at."""
    seen: list[object] = []
    solve = utils.solve_dependencies

    async def watched(**options: Any) -> Any:
        seen.append(options["dependant"].call)
        return await solve(**options)

    monkeypatch.setattr("fastapi.routing.solve_dependencies", watched)
    return seen


@pytest.mark.parametrize(("method", "target"), VALID)
async def test_a_valid_request_needs_no_look_at_the_dependencies(
    solved: list[object], method: str, target: str
) -> None:
    app = application(compiled=True)
    answer = await ask(app, method, target, HEADERS[1], [b'{"name": "a"}'])
    assert answer[0] in (200, 201, 202)
    assert solved == []


async def test_a_traced_request_is_fastapis_which_names_the_span(solved: list[object]) -> None:
    provider, exporter = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    app = application(compiled=True, telemetry={"tracer_provider": provider})
    answer = await ask(app, "GET", "/v1/things/1", HEADERS[0], [b""])
    assert answer[0] == 200
    assert solved
    assert "GET /v1/things/{thing_id}" in [span.name for span in exporter.get_finished_spans()]


async def test_the_body_limit_of_the_application_holds() -> None:
    chunks: Chunks = [b'{"name": "', b"x" * 1000, b'"}']
    ours, fastapis = [
        await ask(
            application(compiled=is_on, max_body_size=100), "POST", "/things", HEADERS[1], chunks
        )
        for is_on in (True, False)
    ]
    assert ours == fastapis
    assert ours[0] == 413


async def test_parameters_of_an_outer_path_stay() -> None:
    parameters = {"path_params": {"tenant": "a"}}
    for app in (application(compiled=True), application(compiled=False)):
        await ask(app, "GET", "/v1/things/1", HEADERS[0], [b""], **parameters)
        assert CALLS[-1] == ({"tenant": "a", "thing_id": "1"}, "/v1/things/{thing_id}")


def routes_of(app: FastAPI) -> list[CompiledRoute | OtherRoute]:
    return list(compile_routes(app.router.routes))


def test_plain_routes_are_compiled() -> None:
    types = [type(route) for route in routes_of(application(compiled=True))]
    document = 4  # routes of it and its pages, which are plain Starlette's
    assert types == [OtherRoute] * document + [CompiledRoute] * 2 * len(ROUTES)


async def plain() -> int:
    return 1


async def generated() -> AsyncIterator[int]:
    yield 1


def in_a_thread() -> int:
    return 1


class Called:
    """A dependency that is a class is called in a thread."""


class OwnRoute(APIRoute):
    """It may do anything."""


async def with_cookie(session: Annotated[str | None, Cookie()] = None) -> int:
    return 1


async def with_tasks(tasks: BackgroundTasks) -> int:
    return 1


async def with_form(name: Annotated[str, Form()]) -> int:
    return 1


async def with_form_model(thing: Annotated[Thing, Form()]) -> int:
    return 1


async def with_file(content: Annotated[bytes, File()]) -> int:
    return 1


async def with_two_bodies(thing: Thing, other: Thing) -> int:
    return 1


async def with_embedded_body(thing: Annotated[Thing, Body(embed=True)]) -> int:
    return 1


async def with_generator(value: Annotated[int, Depends(generated)]) -> int:
    return 1


async def with_thread(value: Annotated[int, Depends(in_a_thread)]) -> int:
    return 1


async def with_class(value: Annotated[Called, Depends()]) -> int:
    return 1


async def with_limit(value: Annotated[int, Depends(plain, max_concurrency=1)]) -> int:
    return 1


async def with_other_name(name: Annotated[str, Path(validation_alias="other")]) -> int:
    return 1


async def untyped():  # type: ignore[no-untyped-def]
    return 1


NOT_PLAIN: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "a function that is run in a thread": (in_a_thread, {}),
    "a generator": (generated, {}),
    "a cookie": (with_cookie, {}),
    "background tasks": (with_tasks, {}),
    "a form": (with_form, {"methods": ["POST"]}),
    "a form that is a model": (with_form_model, {"methods": ["POST"]}),
    "a file": (with_file, {"methods": ["POST"]}),
    "two bodies": (with_two_bodies, {"methods": ["POST"]}),
    "an embedded body": (with_embedded_body, {"methods": ["POST"]}),
    "a dependency that yields": (with_generator, {}),
    "a dependency in a thread": (with_thread, {}),
    "a class as dependency": (with_class, {}),
    "a dependency with a limit": (with_limit, {}),
    "no declared answer": (untyped, {}),
    "another class of response": (plain, {"response_class": PlainTextResponse}),
    "no body": (plain, {"status_code": 204, "response_model": None}),
    "a limit of the body": (plain, {"max_body_size": 10}),
    "a convertor": (plain, {"path": "/{number:int}"}),
    "another name in the path": (with_other_name, {"path": "/{other}"}),
    "another class of route": (plain, {"route_class_override": OwnRoute}),
}


@pytest.mark.parametrize("name", NOT_PLAIN)
def test_what_is_not_plain_is_left_to_fastapi(name: str) -> None:
    endpoint, options = NOT_PLAIN[name]
    router = Router()
    router.add_api_route(endpoint=endpoint, **({"path": "/x"} | options))
    assert CompiledRoute not in map(type, compile_routes(router.routes))


def test_a_route_with_something_around_it_is_left_to_fastapi() -> None:
    router = Router()
    router.add_api_route("/x", plain)
    [route] = router.routes
    inner = route.app  # type: ignore[attr-defined]

    async def around(*message: Any) -> None:
        await inner(*message)

    assert type(next(compile_routes([route]))) is CompiledRoute
    route.app = around  # type: ignore[attr-defined]
    assert type(next(compile_routes([route]))) is OtherRoute


def test_an_attribute_of_a_route_that_nobody_knows_leaves_it_to_fastapi() -> None:
    router = Router()
    router.add_api_route("/x", plain)
    [route] = router.routes
    route.new_feature = None  # type: ignore[attr-defined]
    assert type(next(compile_routes([route]))) is OtherRoute


def test_a_field_of_dependants_that_nobody_knows_leaves_all_to_fastapi(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert {field.name for field in dataclasses.fields(Dependant)} == plan.FOLLOWED | plan.ABSENT
    monkeypatch.setattr(plan, "ABSENT", plan.ABSENT - {"concurrency"})
    assert CompiledRoute not in map(type, routes_of(application(compiled=True)))


async def test_another_version_of_fastapi_serves_all_routes_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fastapi, "__version__", "99.0.0")
    monkeypatch.setattr(route_index, "compile_routes", None)  # must not be called
    with structlog.testing.capture_logs() as logs:
        app = application(compiled=True)
    assert (await ask(app, "GET", "/things/1", [], [b""]))[0] == 200
    assert [line["log_level"] for line in logs] == ["info"]


async def test_an_overridden_dependency_is_called_instead() -> None:
    app = application(compiled=True)
    before = await ask(app, "GET", "/things/1", [], [b""])
    app.dependency_overrides[counted] = lambda: 42
    after = await ask(app, "GET", "/things/1", [], [b""])
    app.dependency_overrides.clear()
    assert json.loads(after[2]) == {"id": 1, "length": 42} != json.loads(before[2])
    assert await ask(app, "GET", "/things/1", [], [b""]) == before


async def test_a_route_that_fastapi_finds_first_is_served_first() -> None:
    app = FastAPI()

    @app.get("/things/{number:int}")
    async def by_number(number: int) -> str:
        return "number"

    @app.get("/things/{name}")
    async def by_name(name: str) -> str:
        return "name"

    index_routes(app)
    assert (await ask(app, "GET", "/things/1", [], [b""]))[2] == b'"number"'
    assert (await ask(app, "GET", "/things/x", [], [b""]))[2] == b'"name"'


async def test_an_error_of_a_route_that_fastapi_has_to_serve_is_reported_alone() -> None:
    """And not as one that happened while another was handled."""
    app = FastAPI()

    @app.get("/broken")
    async def broken(query: Annotated[Open, Query()]) -> str:
        raise ValueError("broken")

    index_routes(app)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
        with pytest.raises(ValueError, match="broken") as raised:
            await client.get("http://test/broken?more=1")
    assert raised.value.__context__ is None


def test_the_installed_fastapi_is_one_of_the_versions_that_were_tried() -> None:
    """Red with a newer one: run all tests with it, read what changed, and add it to PROVED."""
    assert compiled.is_proved()
