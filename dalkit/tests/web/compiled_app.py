"""An application with parameters and dependencies of all kinds, with compiled routes or without."""

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, Literal

from fastapi import (
    APIRouter,
    Body,
    Depends,
    FastAPI,
    Header,
    HTTPException,
    Query,
    Request,
    Response,
    Security,
)
from fastapi.responses import PlainTextResponse, StreamingResponse
from fastapi.security import SecurityScopes
from pydantic import AfterValidator, AliasChoices, BaseModel, ConfigDict, Field
from starlette.requests import HTTPConnection

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
    app: FastAPI,
    method: str,
    target: str,
    headers: Headers,
    chunks: Chunks,
    *,
    is_cut: bool = False,
    **more: Any,
) -> Answer:
    """Return what the application sends, or the error that it raises, and what was called.

    With `is_cut` the client goes before it has said that these chunks are all.
    """
    path, _, query = target.partition("?")
    messages = [
        {"type": "http.request", "body": chunk, "more_body": is_cut or number < len(chunks)}
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
