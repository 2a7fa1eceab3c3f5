"""Through the index a request finds the route that FastAPI would have found without it."""

from itertools import product
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request
from fastapi.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from dalkit.web.route_index import RouteIndex, index_routes

METHODS = ("GET", "POST", "DELETE", "OPTIONS", "HEAD")
PATHS = (
    *("/", "", "//", "/v1", "/v1/", "/v1/books", "/v1/books/", "/v1/books/7", "/v1/books/x"),
    *("/v1/books/7/", "/v1/books/7/pages", "/v1/books/latest", "/v1/bookshop", "/v1/books%2F7"),
    *("/v1/authors", "/v1/authors/7", "/v2/books", "/tenants/books", "/livez", "/livez/x"),
    *("/files/a/b/c", "/mounted", "/mounted/", "/mounted/deep/1", "/other", "/v1/other"),
)


def answering(*paths: str, name: str, method: str = "GET") -> APIRouter:
    """A router whose routes tell which one was found, and with which parameters."""
    router = APIRouter()

    async def answer(request: Request) -> dict[str, Any]:
        route = request.scope["route"]
        home = str(request.url_for("home"))
        return {"found": [name, route.path], "params": request.path_params, "home": home}

    for path in paths:
        router.add_api_route(path, answer, methods=[method], name=f"{name} {path}")
    return router


def application() -> FastAPI:
    """Every way in which a route can be added."""
    app = FastAPI()
    app.include_router(answering("/livez", name="health"))
    app.include_router(answering("/books/latest", name="latest"), prefix="/v1")
    app.include_router(answering("/books", "/books/{n:int}", name="reads"), prefix="/v1")
    app.include_router(answering("/books", name="writes", method="POST"), prefix="/v1")
    nested = APIRouter(prefix="/v1")
    nested.include_router(answering("/authors", "/authors/{n}", name="nested"))
    app.include_router(nested)
    app.include_router(answering("/{tenant}/books", "/files/{path:path}", name="dynamic"))
    app.include_router(answering("/{tenant}/books", name="any", method="DELETE"))
    app.router.routes.append(Mount("/mounted", routes=[Route("/deep/{n}", _plain)]))
    app.add_api_route("/", _home, name="home")
    return app


async def _home() -> str:
    return "home"


async def _plain(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"{request.scope['root_path']} {request.path_params}")


async def ask(app: FastAPI, method: str, path: str, root_path: str = "") -> Any:
    transport = httpx.ASGITransport(app=app, root_path=root_path)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        response = await client.request(method, "http://test" + path)
        return response.status_code, dict(response.headers), response.content


@pytest.mark.parametrize("root_path", ["", "/v1", "/api"])
async def test_the_index_changes_no_answer(root_path: str) -> None:
    plain, indexed = application(), application()
    index_routes(indexed)
    answers = set()
    for method, path in product(METHODS, PATHS):
        expected = await ask(plain, method, path, root_path)
        assert await ask(indexed, method, path, root_path) == expected, (method, path)
        answers.add(expected[0])
    assert {200, 307, 404, 405} <= answers


async def test_only_what_can_match_is_asked() -> None:
    app = application()
    index_routes(app)
    _ = await ask(app, "GET", "/v1/books/7")
    index = app.router.middleware_stack
    assert isinstance(index, RouteIndex)
    asked: list[str] = []

    async def note(scope: Scope, receive: Receive, send: Send) -> None:
        asked.append(scope["path"])

    index._all.otherwise = note  # what is asked when the index has nothing
    for path in ("/v1/books/7", "/v1/authors", "/livez", "/", "/tenants/books", "/files/a/b/c"):
        assert (await ask(app, "GET", path))[0] == 200
    assert asked == []


async def test_under_a_long_prefix_too_only_one_router_is_asked() -> None:
    app = FastAPI()
    for number in range(50):
        app.include_router(answering(f"/{number}/{{n}}", name=str(number)), prefix="/api/shop/v1")
    index = RouteIndex(app.router, compiled=False)
    app.router.middleware_stack = index
    app.add_api_route("/", _home, name="home")
    assert (await ask(app, "GET", "/api/shop/v1/7/x"))[0] == 200
    found: Any = index._find("/api/shop/v1/7/x")
    assert len(found.otherwise.__self__.routes) == 1


async def test_routes_that_are_added_later_are_found() -> None:
    app = application()
    index_routes(app)
    late = APIRouter()
    app.include_router(late)
    assert (await ask(app, "GET", "/v1/books/other"))[0] == 404
    late.add_api_route("/v1/books/other", _home)
    assert (await ask(app, "GET", "/v1/books/other"))[0] == 200
    assert (await ask(app, "POST", "/livez"))[0] == 405
    app.add_api_route("/livez", _home, methods=["POST"])
    assert (await ask(app, "POST", "/livez"))[0] == 200


async def test_the_service_uses_the_index(app: FastAPI) -> None:
    assert isinstance(app.router.middleware_stack, RouteIndex)


def telling() -> FastAPI:
    """An application with a plain route that tells whether FastAPI's middlewares are around it."""
    app = FastAPI()

    @app.get("/plain")
    async def plain(request: Request) -> bool:
        return "fastapi_middleware_astack" in request.scope

    return app


async def test_a_compiled_route_does_without_fastapis_own_middlewares() -> None:
    app = telling()
    index_routes(app)
    assert (await ask(app, "GET", "/plain"))[::2] == (200, b"false")


@pytest.mark.parametrize("compiled", [True, False])
async def test_a_middleware_that_is_put_behind_all_others_runs(*, compiled: bool) -> None:
    seen = []

    class Noting:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            seen.append(scope["path"])
            await self.app(scope, receive, send)

    app = telling()
    index_routes(app, compiled=compiled)
    app.user_middleware.append(Middleware(Noting))
    assert (await ask(app, "GET", "/plain"))[::2] == (200, b"true")
    assert seen == ["/plain"]


async def test_what_is_put_around_the_router_runs() -> None:
    seen = []

    class Around:
        def __init__(self, router: APIRouter) -> None:
            self.router = router

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            seen.append(scope["path"])
            await self.router(scope, receive, send)

    app = telling()
    index_routes(app)
    app.router = Around(app.router)  # type: ignore[assignment]
    assert (await ask(app, "GET", "/plain"))[::2] == (200, b"true")
    assert seen == ["/plain"]
