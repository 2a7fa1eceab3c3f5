"""`/` in development: what the service is called, where its docs are, how to call it."""

from collections.abc import Iterator
from html import escape
from importlib.resources import files
from string import Template

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import HTMLResponse, Response

from ...first_call import first_call
from ...settings import Settings

DEFAULT_PORT = 8000  # of `make run` and `make token`


def add_index(router: APIRouter, settings: Settings) -> None:
    """Add `/` and its style sheet."""
    html, css = (_read(name) for name in ("index.html", "index.css"))

    @router.get("/")
    async def index(request: Request) -> Response:
        app: FastAPI = request.app
        values = {
            "title": escape(app.title),
            "version": escape(app.version),
            "summary": escape(app.summary or ""),
            "links": "\n".join(_links(app, settings)),
            "call": "\n".join(_call(request, settings)),
        }
        return HTMLResponse(Template(html).substitute(values))

    @router.get("/index.css")
    async def style() -> Response:
        return Response(css, media_type="text/css")


def _read(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8")


def _links(app: FastAPI, settings: Settings) -> Iterator[str]:
    if settings.docs_enabled:
        yield '<li><a href="docs">API docs</a>: look at every route, and try it</li>'
        yield '<li><a href="openapi.json">OpenAPI document</a>: for clients and tools</li>'
    yield '<li><a href="readyz">Readiness</a>: the database, and whether it is migrated</li>'


def _call(request: Request, settings: Settings) -> Iterator[str]:
    """Yield how to get a token, and a line that calls the service with it."""
    call = first_call(request.app.openapi())
    if call is None:
        return
    url = f"{str(request.base_url).rstrip('/')}{call.path}"
    yield "<h2>Call it</h2>"
    if not call.is_guarded:
        yield _code(f"curl {url}")
    elif settings.auth0_dev_issuer:
        port = request.url.port
        make = "make -s token" if port in (None, DEFAULT_PORT) else f"make -s token PORT={port}"
        yield "<p>The routes need an access token. In the folder of the service:</p>"
        yield _code(_token(make, call.all_scopes))
        yield "<p>and with one, in the same folder:</p>"
        yield _code(f'curl -H "Authorization: Bearer $({_token(make, call.scopes)})" {url}')
        yield "<p>Or press <em>Authorize</em> in the API docs.</p>"
    else:
        yield "<p>The routes need an access token: press <em>Authorize</em> in the API docs.</p>"


def _token(make: str, scopes: tuple[str, ...]) -> str:
    return f"{make} SCOPES='{' '.join(scopes)}'" if scopes else make


def _code(line: str) -> str:
    return f"<pre><code>{escape(line)}</code></pre>"
