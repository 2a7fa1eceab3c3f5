"""The docs page: FastAPI's own, with the scripts in files and Swagger UI from an installed package.

So it works without the internet, and under a Content-Security-Policy without 'unsafe-inline'.
"""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html, get_swagger_ui_oauth2_redirect_html
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

from ..headers import PAGE_POLICY

#: The package that brings Swagger UI, and the folder in it.
SWAGGER_UI = ("fastapi_swagger", "resources")
FILES = {"swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png"}

_INLINE_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


def add_docs(router: APIRouter) -> None:
    """Add `/docs`, the page that a login comes back to, and their files."""
    swagger_ui = StaticFiles(packages=[SWAGGER_UI])

    @router.get("/docs")
    async def docs(request: Request) -> Response:
        page, _ = _docs(request)
        policy = _policy(request.app.openapi())
        return HTMLResponse(page, headers={"content-security-policy": policy})

    @router.get("/docs/initializer.js")
    async def initializer(request: Request) -> Response:
        return _javascript(_docs(request)[1])

    @router.get("/docs/oauth2-redirect")
    async def redirect() -> Response:
        return HTMLResponse(_redirect()[0])

    @router.get("/docs/oauth2-redirect.js")
    async def redirect_script() -> Response:
        return _javascript(_redirect()[1])

    @router.get("/docs/{file}")
    async def file(file: str, request: Request) -> Response:
        if file not in FILES:
            raise HTTPException(404)
        return await swagger_ui.get_response(file, request.scope)


def _docs(request: Request) -> tuple[str, str]:
    app: FastAPI = request.app
    root = request.scope.get("root_path", "").rstrip("/")
    page = get_swagger_ui_html(
        openapi_url=f"{root}{app.openapi_url}",
        title=f"{app.title} - Swagger UI",
        swagger_js_url=f"{root}/docs/swagger-ui-bundle.js",
        swagger_css_url=f"{root}/docs/swagger-ui.css",
        swagger_favicon_url=f"{root}/docs/favicon-32x32.png",
        oauth2_redirect_url=f"{root}/docs/oauth2-redirect",
        init_oauth=app.swagger_ui_init_oauth,
        swagger_ui_parameters=app.swagger_ui_parameters,
    )
    return _split(page, f"{root}/docs/initializer.js")


def _redirect() -> tuple[str, str]:
    return _split(get_swagger_ui_oauth2_redirect_html(), "oauth2-redirect.js")


def _split(page: HTMLResponse, url: str) -> tuple[str, str]:
    """Return a page of FastAPI's that loads its script from `url`, and that script."""
    html = bytes(page.body).decode()
    (script,) = _INLINE_SCRIPT.findall(html)
    return _INLINE_SCRIPT.sub(f'<script src="{url}"></script>', html), script


def _javascript(script: str) -> Response:
    return Response(script, media_type="text/javascript")


def _policy(document: dict[str, Any]) -> str:
    """Return the policy of the docs page: it also talks to who issues tokens, and to `servers`."""
    origins = {f"{url.scheme}://{url.netloc}" for url in _urls(document) if url.netloc}
    return "; ".join([PAGE_POLICY, " ".join(["connect-src 'self'", *sorted(origins)])])


def _urls(document: dict[str, Any]) -> Iterator[Any]:
    for server in document.get("servers", ()):
        yield urlsplit(server["url"])
    for scheme in document.get("components", {}).get("securitySchemes", {}).values():
        for flow in scheme.get("flows", {}).values():
            yield urlsplit(flow.get("tokenUrl", ""))
