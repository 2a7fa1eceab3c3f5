"""Who may call: every route needs a token, but for these."""

import re

import httpx
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

DOCS = ("", "/initializer.js", "/oauth2-redirect", "/oauth2-redirect.js", "/{file}")
PUBLIC = {"/livez", "/readyz", "/openapi.json", *(f"/docs{path}" for path in DOCS)}


async def test_only_these_routes_are_public(app: FastAPI, anonymous: httpx.AsyncClient) -> None:
    for route in iter_route_contexts(app.routes):
        path = re.sub(r"{\w+}", "1", str(route.path_format))
        for method in (route.methods or set()) - {"HEAD"}:
            response = await anonymous.request(method, path)
            assert (response.status_code != 401) == (route.path in PUBLIC), f"{method} {path}"
