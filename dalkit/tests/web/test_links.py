"""The path of a route by its name is the one that FastAPI gives, and is searched for once."""

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from starlette.responses import Response
from starlette.routing import Mount, Route, Router

from dalkit.web import links
from dalkit.web.links import path_for

ASKED: list[tuple[str, dict[str, str]]] = [
    ("one", {"key": "7"}),
    ("one", {"key": "x/y"}),
    ("one", {}),
    ("two", {"key": "7", "other": "8"}),
    ("two", {"other": "8", "key": "7"}),
    ("twice", {"key": "1"}),
    ("twice", {}),
    ("number", {"key": "7"}),
    ("nested", {"key": "7"}),
    ("mounted:deep", {"key": "7"}),
    ("mounted", {"path": "a/b"}),
    ("missing", {"key": "7"}),
]


async def nothing() -> None:
    """Answer."""


async def plain(request: Any) -> Response:
    return Response()


def added(path: str, name: str, router: APIRouter | None = None) -> APIRouter:
    router = router or APIRouter()
    router.add_api_route(path, nothing, name=name)
    return router


@pytest.fixture
def router() -> Router:
    """Every way in which a route can be added, and names that are there twice."""
    app = FastAPI()
    app.include_router(added("/{key}", "one"), prefix="/ones")
    app.include_router(added("/{key}/{other}", "two"), prefix="/twos")
    app.include_router(added("/{key}", "twice"), prefix="/first")
    app.include_router(added("/all", "twice"), prefix="/second")
    app.include_router(added("/{key}", "twice"), prefix="/third")
    app.include_router(added("/numbers/{key:int}", "number"))
    middle = APIRouter(prefix="/middle")
    middle.include_router(added("/{key}", "nested"), prefix="/inner")
    app.include_router(middle)
    deep = Mount("/mounted", routes=[Route("/deep/{key}", plain, name="deep")], name="mounted")
    app.router.routes.append(deep)
    return app.router


def outcome(function: Any, *arguments: Any, **named: Any) -> str:
    try:
        return str(function(*arguments, **named))
    except Exception as error:  # noqa: BLE001 - compared
        return f"{type(error).__name__}: {error}"


def outcomes(router: Router) -> Iterator[tuple[str, str]]:
    for name, parameters in ASKED:
        yield (
            outcome(path_for, router, name, parameters),
            outcome(router.url_path_for, name, **parameters),
        )


def test_it_is_the_path_that_fastapi_gives_the_second_time_too(router: Router) -> None:
    first, second = list(outcomes(router)), list(outcomes(router))
    assert [ours for ours, _ in first + second] == [theirs for _, theirs in first + second]
    assert sum(ours.startswith("/") for ours, _ in first) == 9


def test_all_routes_are_asked_once(router: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    assert path_for(router, "nested", {"key": "7"}) == "/middle/inner/7"
    monkeypatch.setattr(links, "iter_route_contexts", lambda routes: iter(()))
    assert path_for(router, "nested", {"key": "8"}) == "/middle/inner/8"


def test_a_route_that_is_added_later_is_found(router: APIRouter) -> None:
    assert outcome(path_for, router, "late", {}).startswith("NoMatchFound")
    added("/late", "late", router)
    assert path_for(router, "late", {}) == "/late"
    router.routes.insert(0, added("/sooner", "late").routes[0])
    assert path_for(router, "late", {}) == "/sooner"


def test_two_routers_have_paths_of_their_own() -> None:
    assert [path_for(added(path, "same"), "same", {}) for path in ("/a", "/b")] == ["/a", "/b"]


def test_nothing_is_kept_of_a_router_that_is_gone() -> None:
    router = added("/here", "here")
    number = id(router)
    assert path_for(router, "here", {}) == "/here"
    assert number in links._FOUND
    del router
    gc.collect()
    assert number not in links._FOUND
