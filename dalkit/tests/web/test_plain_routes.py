"""Plain routes are compiled; what is not known to be plain is left to FastAPI."""

import dataclasses
import json
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import fastapi
import httpx
import pytest
import structlog
from fastapi import (
    BackgroundTasks,
    Body,
    Cookie,
    Depends,
    FastAPI,
    File,
    Form,
    Path,
    Query,
)
from fastapi.dependencies.models import Dependant
from fastapi.responses import PlainTextResponse
from fastapi.routing import APIRoute
from fastapi.routing import APIRouter as Router

from dalkit.web import compiled, plan, route_index
from dalkit.web.compiled import CompiledRoute, OtherRoute, compile_routes
from dalkit.web.route_index import index_routes

from .compiled_app import ROUTES, Open, Thing, application, ask, counted


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
