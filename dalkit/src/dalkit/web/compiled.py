"""Serves plain routes as FastAPI does, by a plan that is made once for each of them.

FastAPI's own handler stays what decides. It serves whatever is not known here to get the same
answer: every route with a feature that is not on the lists of this file and of `plan`, every
request that is not valid, traced requests, overridden dependencies, and every route when the
version of FastAPI is not one of PROVED.
"""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, cast

import fastapi
import structlog
from fastapi import routing
from fastapi._compat import ModelField
from fastapi.datastructures import DefaultPlaceholder
from fastapi.exceptions import EndpointContext
from fastapi.security import SecurityScopes
from fastapi.utils import is_body_allowed_for_status_code
from starlette.convertors import StringConvertor
from starlette.exceptions import HTTPException
from starlette.middleware.body_limit import MAX_BODY_SIZE_SCOPE_KEY
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .plan import REQUEST, RESPONSE, Invalid, NotPlain, Plan

#: The versions of FastAPI with which all tests were run.
PROVED = frozenset({"0.165.0"})

#: How a route's answer is written.
_SERIALIZATION = (
    *("include", "exclude", "by_alias", "exclude_unset", "exclude_defaults", "exclude_none"),
)
#: What a route has and is followed here; an included one is a context with the same attributes.
_FOLLOWED = {
    *("path_regex", "param_convertors", "methods", "endpoint", "dependant", "body_field", "app"),
    *("response_field", "response_class", "status_code", "dependency_overrides_provider"),
    *("original_route", "strict_content_type"),
    *(f"response_model_{name}" for name in _SERIALIZATION),
}
#: What it may have, and must not have here.
_ABSENT = {
    *("max_body_size", "_embed_body_fields", "is_sse_stream", "is_json_stream", "form_limits"),
    *("stream_item_field", "stream_item_type", "starlette_route", "frontend_prefix"),
}
#: What only the document and links are made of.
_ELSEWHERE = {
    *("path", "path_format", "name", "response_model", "summary", "response_description"),
    *("deprecated", "operation_id", "include_in_schema", "callbacks", "openapi_extra", "tags"),
    *("generate_unique_id_function", "responses", "unique_id", "dependencies", "description"),
    "response_fields",
}
_JSON = "application/json"
#: The usual ways to name it. FastAPI knows all of them.
_JSON_TYPES = {_JSON, f"{_JSON}; charset=utf-8"}

logger = structlog.get_logger(__name__)


class OtherRoute(NamedTuple):
    """A route that FastAPI serves, for its place among the compiled ones."""

    path_regex: re.Pattern[str]
    methods: frozenset[str]


class CompiledRoute:
    """Serves a route, as it was declared or included, by its plan; raises NotPlain without one.

    `path_regex` and `methods` say which requests it is for.
    """

    def __init__(self, route: Any) -> None:
        _require_plain(route)
        self.path_regex, self.methods = route.path_regex, route.methods
        self._route, self._plan = route, Plan(route.dependant)
        self._overrides = route.dependency_overrides_provider
        self._status = route.status_code or 200
        self._options = {name: getattr(route, f"response_model_{name}") for name in _SERIALIZATION}
        # What FastAPI leaves in the scope when it has found the route.
        declared = getattr(route, "original_route", route)
        self._found = {"endpoint": route.endpoint, "route": declared}
        self._context = {} if declared is route else {"effective_route_context": route}

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> ASGIApp | None:
        """Answer a request whose path and method have matched.

        Returns None, or else what has to answer it inside of FastAPI's own middlewares, which
        handle exceptions: FastAPI's handler, a response of the handler's, or an error to raise.
        """
        scope.update(self._found)
        scope["fastapi"] = {**scope.get("fastapi", {}), **self._context}
        is_overridden = self._overrides is not None and self._overrides.dependency_overrides
        if is_overridden or MAX_BODY_SIZE_SCOPE_KEY in scope:
            return cast(ASGIApp, self._route.app)
        request = Request(scope, receive, send)
        try:
            answer = await self._answer(request)
        except Invalid:
            return _from_the_start(self._route.app, request)
        except Exception as error:  # noqa: BLE001 - answered by the handlers, or raised again
            return raising(error)
        if isinstance(answer, Response):
            return answer
        start, content = answer
        await send(start)
        await send({"type": "http.response.body", "body": content})
        return None

    async def _answer(self, request: Request) -> Response | tuple[Message, bytes]:
        """Follow the plan; return the handler's own response, or the beginning and body of one."""
        plan = self._plan
        places: list[Any] = [None] * plan.size
        places[REQUEST] = request
        added = places[RESPONSE] = _Added() if plan.uses_response else None
        body = await _json_of(request) if self._route.body_field is not None else None
        for read, targets in plan.readings:
            values = read(request, body)
            for name, place in targets:
                places[place] = values[name]
        for place, scopes in plan.security_scopes:
            places[place] = SecurityScopes(scopes=[*scopes])
        for function, arguments, place in plan.calls[:-1]:
            places[place] = await function(**{name: places[at] for name, at in arguments})
        # Asked for now: what has just been called may have wrapped it, as an Idempotency-Key does.
        handler, arguments = self._route.dependant.call, plan.calls[-1].arguments
        result: Any = await handler(**{name: places[at] for name, at in arguments})
        if isinstance(result, Response):
            return result
        content = await self._serialized(request, result)
        headers = [
            (b"content-length", str(len(content)).encode()),
            (b"content-type", _JSON.encode()),
        ]
        if added is None:
            return _start(self._status, headers), content
        if added.status_code:
            return _with_status(added, content)
        return _start(self._status, headers + added.raw_headers), content

    async def _serialized(self, request: Request, result: Any) -> bytes:
        field: ModelField = self._route.response_field
        value, errors = field.validate(result)
        if errors:  # they are FastAPI's to raise
            root = request.scope.get("root_path", "").rstrip("/")
            context = {
                **routing._extract_endpoint_context(self._route.endpoint),
                "path": f"{request.method} {root}{self._route.dependant.path}",
            }
            await routing.serialize_response(
                field=field, response_content=result, endpoint_ctx=cast(EndpointContext, context)
            )
        return field.serialize_json(value, **self._options)


class _Added(Response):
    """What functions add to the response: headers, or another status than the route's."""

    def __init__(self) -> None:
        self.status_code = None  # type: ignore[assignment]
        self.background, self.body = None, b""
        self.raw_headers = []


def _start(status: int, headers: list[tuple[bytes, bytes]]) -> Message:
    return {"type": "http.response.start", "status": status, "headers": headers}


def _with_status(added: Response, content: bytes) -> Response:
    response = Response(content, added.status_code, media_type=_JSON)
    if not is_body_allowed_for_status_code(response.status_code):
        response.body = b""
    response.raw_headers.extend(added.raw_headers)
    return response


async def _json_of(request: Request) -> Any:
    """Read a JSON body; raises Invalid for what FastAPI refuses or does not take for JSON."""
    try:
        content = request._body = await _body_of(request.receive)
    except HTTPException:  # a middleware's answer
        raise
    except Exception as error:
        raise HTTPException(400, "There was an error parsing the body") from error
    if request.headers.get("content-type") not in _JSON_TYPES:
        raise Invalid
    try:
        return json.loads(content)
    except Exception:  # noqa: BLE001 - no JSON, no UTF-8, or nested too deeply
        raise Invalid from None


async def _body_of(receive: Receive) -> bytes:
    """What `Request.body` returns, without its generators: most bodies are one message."""
    parts: list[bytes] = []
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


def _from_the_start(app: ASGIApp, request: Request) -> ASGIApp:
    """Hand out the body again, if it was read, and then what comes after it."""
    body: bytes | None = getattr(request, "_body", None)
    if body is None:
        return app
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        async def receive_again() -> Message:
            return messages.pop() if messages else await receive()

        await app(scope, receive_again, send)

    return run


def raising(error: Exception) -> ASGIApp:
    """An application that raises it, for those around it to answer."""

    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    return fail


def _require_plain(route: Any) -> None:
    """Raise NotPlain for a route with anything that is not followed here."""
    if type(getattr(route, "original_route", route)) is not routing.APIRoute:
        raise NotPlain("it is not an APIRoute itself")
    if unknown := set(vars(route)) - _FOLLOWED - _ABSENT - _ELSEWHERE:
        raise NotPlain(f"its {', '.join(sorted(unknown))} is not known")
    if used := [name for name in sorted(_ABSENT) if getattr(route, name, None)]:
        raise NotPlain(f"it has {', '.join(used)}")
    if getattr(route.app, "__qualname__", None) != "request_response.<locals>.app":
        raise NotPlain("something is wrapped around it")
    if any(type(it) is not StringConvertor for it in route.param_convertors.values()):
        raise NotPlain("its path has a convertor")
    has_body = is_body_allowed_for_status_code(route.status_code)
    is_json = isinstance(route.response_class, DefaultPlaceholder)
    if not (has_body and is_json and route.response_field):
        raise NotPlain("its answer is not JSON of a declared type")


def compile_routes(routes: Sequence[BaseRoute]) -> Iterator[CompiledRoute | OtherRoute]:
    """Compile routes and those of included routers, in the order in which FastAPI tries them.

    Ends before the first one of which is not known here what it matches.
    """
    for context in routing.iter_route_contexts(routes):
        route: Any = context._effective_route
        if isinstance(context.original_route, WebSocketRoute):
            continue
        try:
            yield CompiledRoute(route)
        except NotPlain as reason:
            logger.debug("FastAPI serves a route", route=context.path, reason=str(reason))
            if type(context.original_route) not in (routing.APIRoute, Route) or not route.methods:
                return
            yield OtherRoute(route.path_regex, frozenset(route.methods))


def is_proved() -> bool:
    """Return whether the installed FastAPI is one that this was tried with."""
    return fastapi.__version__ in PROVED
