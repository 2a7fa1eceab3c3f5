"""The pages for people: what they say, and where they are not."""

from html import unescape
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI

from dalkit import Settings
from dalkit.auth import Auth0, include_guarded
from dalkit.first_call import FirstCall, first_call
from dalkit.web import document, pages_router

from .apps import calling, middleware

ISSUER = "http://127.0.0.1:9/"
AUDIENCE = "https://api.example.com"
PUBLIC: dict[str, Any] = {
    "database_url": "postgresql://app:long-and-own@db/app?sslmode=verify-full",
    "docs_enabled": True,
}


def app_with(*additions: Any, **settings: Any) -> FastAPI:
    """Return an app with the pages for these settings, and nothing to call."""
    app = FastAPI(
        title="<my> & co",
        docs_url=None,
        redoc_url=None,
        middleware=middleware(),
        swagger_ui_init_oauth={"clientId": "</script>"},
        swagger_ui_parameters={"filter": True},
    )
    options: Any = {"auth0_dev_issuer": None} | settings  # not that of the other tests
    app.include_router(pages_router(Settings(_env_file=None, **options)))
    document(app, *additions)
    return app


def things() -> APIRouter:
    """A resource."""
    router = APIRouter()

    @router.get("/things/{number}")
    async def one(number: int) -> int:
        return number

    @router.get("/things")
    async def some() -> None:
        pass

    @router.post("/things")
    async def add() -> None:
        pass

    return router


def guarded_app(**settings: Any) -> FastAPI:
    """Return an app with the pages and a guarded resource."""
    auth0 = Auth0("team.auth0.com", AUDIENCE, dev_issuer=settings.get("auth0_dev_issuer"))
    app = app_with(auth0.describe, auth0_audience=AUDIENCE, **settings)
    include_guarded(app, things(), prefix="/v1", read="read:things", write="write:things")
    return app


async def text_of(app: FastAPI, path: str = "/", base_url: str = "http://here:8001") -> str:
    """Return the body of a page."""
    async with calling(app, base_url) as client:
        response = await client.get(path)
    assert response.status_code == 200
    return response.text


@pytest.mark.parametrize("environment", ["testing", "staging", "production"])
async def test_the_first_page_is_for_development_only(environment: str) -> None:
    async with calling(app_with(environment=environment, **PUBLIC)) as client:
        answers = [(await client.get(path)).status_code for path in ("/", "/index.css", "/docs")]
    assert answers == [404, 404, 200]


async def test_where_the_docs_are_off_none_of_their_files_is_there() -> None:
    app = app_with(docs_enabled=False)
    async with calling(app) as client:
        for file in ("", "/oauth2-redirect", "/initializer.js", "/swagger-ui-bundle.js"):
            assert (await client.get(f"/docs{file}")).status_code == 404
    assert "docs" not in await text_of(app)


async def test_the_first_page_says_how_to_call_the_service() -> None:
    text = unescape(await text_of(guarded_app(auth0_dev_issuer=ISSUER)))
    assert "make -s token PORT=8001 SCOPES='read:things write:things'" in text
    token = "$(make -s token PORT=8001 SCOPES='read:things')"
    assert f'curl -H "Authorization: Bearer {token}" http://here:8001/v1/things' in text


async def test_on_the_usual_port_none_is_named() -> None:
    text = await text_of(guarded_app(auth0_dev_issuer=ISSUER), base_url="http://here:8000")
    assert "make -s token SCOPES" in text
    assert "PORT" not in text


async def test_with_a_tenant_the_docs_page_logs_in() -> None:
    text = await text_of(guarded_app(auth0_domain="team.auth0.com"))
    assert "Authorize" in text
    assert "make" not in text


async def test_a_service_without_guards_needs_no_token() -> None:
    app = app_with()
    app.include_router(things())
    text = await text_of(app)
    assert "curl http://here:8001/things<" in text
    assert "token" not in text


async def test_names_are_text_and_not_markup() -> None:
    text = await text_of(app_with())
    assert "<title>&lt;my&gt; &amp; co</title>" in text
    assert "<my>" not in text


@pytest.mark.parametrize("path", ["/", "/docs", "/docs/oauth2-redirect"])
async def test_a_page_has_no_script_and_no_style_in_it(path: str) -> None:
    text = await text_of(app_with(), path)
    assert "<script>" not in text
    assert "<style" not in text
    assert " on" not in text.replace(" on the page", "").replace(" one", "")
    assert "//" not in text.replace("http://here:8001", "")


async def test_the_docs_page_is_what_fastapi_was_given() -> None:
    script = await text_of(app_with(), "/docs/initializer.js")
    assert '"filter": true' in script
    assert '"clientId": "\\u003c/script\\u003e"' in script


async def test_behind_a_prefix_the_docs_page_finds_its_files() -> None:
    app = app_with()
    transport = httpx.ASGITransport(app, root_path="/books")
    async with httpx.AsyncClient(transport=transport, base_url="http://here/books") as client:
        page = (await client.get("/docs")).text
        script = (await client.get("/docs/initializer.js")).text
    assert 'src="/books/docs/initializer.js"' in page
    assert "url: '/books/openapi.json'" in script
    assert "oauth2RedirectUrl: window.location.origin + '/books/docs/oauth2-redirect'" in script


async def test_the_docs_page_may_talk_to_who_issues_tokens() -> None:
    app = guarded_app(auth0_dev_issuer=ISSUER)
    app.servers = [{"url": "https://api.example/v1"}, {"url": "/v1"}]
    async with calling(app) as client:
        policy = (await client.get("/docs")).headers["content-security-policy"]
    assert policy.endswith("; connect-src 'self' http://127.0.0.1:9 https://api.example")
    assert "unsafe" not in policy


async def test_swagger_ui_is_served_and_nothing_else_of_its_package() -> None:
    async with calling(app_with()) as client:
        script = await client.get("/docs/swagger-ui-bundle.js")
        again = {"if-none-match": script.headers["etag"]}
        unchanged = await client.get("/docs/swagger-ui-bundle.js", headers=again)
        others = [
            (await client.get(f"/docs/{name}")).status_code
            for name in ("__init__.py", "..%2fmain.py", "swagger-ui.css.map")
        ]
    assert script.headers["content-type"].partition(";")[0].endswith("/javascript")
    assert "SwaggerUIBundle" in script.text
    assert unchanged.status_code == 304
    assert others == [404, 404, 404]


def test_the_pages_are_not_documented() -> None:
    assert app_with().openapi()["paths"] == {}


def test_the_first_call_is_one_that_needs_a_scope_and_nothing_else() -> None:
    needed = {"name": "q", "in": "query", "required": True}
    optional = {"name": "limit", "in": "query"}
    paths = {
        "/livez": {"get": {}},
        "/v1/me": {"get": {"security": [{"Auth0": []}]}},
        "/v1/find": {"get": {"security": [{"Auth0": ["a"]}], "parameters": [needed]}},
        "/v1/a/{id}": {"get": {"security": [{"Auth0": ["a"]}]}},
        "/v1/b": {"post": {"security": [{"Auth0": ["w"]}]}},
        "/v1/c": {"get": {"security": [{"Auth0": ["b", "a"]}], "parameters": [optional]}},
    }
    assert first_call({"paths": paths}) == FirstCall("/v1/c", True, ("a", "b"), ("a", "b", "w"))
    del paths["/v1/c"]
    assert first_call({"paths": paths}) == FirstCall("/v1/me", True, (), ("a", "w"))
    assert first_call({"paths": {"/livez": {"get": {}}}}) is None
