"""Document the login and the refusals in OpenAPI, and let the docs page log in."""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

from fastapi import FastAPI

from .auth0 import Auth0
from .scheme import SCHEME

REFUSALS = {
    "401": "No access token, or an invalid one; see `WWW-Authenticate`",
    "403": "The access token lacks a scope or a claim",
    "503": "The issuer's keys cannot be fetched; see `Retry-After`",
}


def document(app: FastAPI, auth0: Auth0) -> None:
    """Describe `auth0` in the app's OpenAPI; the docs page logs in with PKCE (RFC 7636)."""
    plain: Callable[[], dict[str, Any]] = app.openapi

    def openapi() -> dict[str, Any]:
        schema = plain()
        operations = list(_guarded(schema))
        if operations:
            schema["components"]["securitySchemes"][SCHEME] = _scheme(auth0, _scopes(operations))
        for operation in operations:
            _add_refusals(operation, schema)
        return schema

    app.openapi = openapi  # type: ignore[method-assign]
    app.swagger_ui_init_oauth = {
        "clientId": auth0.client_id,
        "usePkceWithAuthorizationCodeGrant": True,
    }


def _guarded(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path in schema["paths"].values():
        for operation in path.values():
            if any(SCHEME in requirement for requirement in operation.get("security", [])):
                yield operation


def _scopes(operations: list[dict[str, Any]]) -> list[str]:
    requirements = [each for operation in operations for each in operation["security"]]
    return sorted({scope for each in requirements for scope in each.get(SCHEME, [])})


def _scheme(auth0: Auth0, scopes: list[str]) -> dict[str, Any]:
    # Auth0 issues a token for an API only to who names it: without audience it is opaque.
    audience = urlencode({"audience": auth0.audience})
    return {
        "type": "oauth2",
        "description": f"An access token of {auth0.issuer} for {auth0.audience}",
        "flows": {
            "authorizationCode": {
                "authorizationUrl": f"{auth0.issuer}authorize?{audience}",
                "tokenUrl": f"{auth0.issuer}oauth/token",
                "scopes": {scope: f"Allows {scope}" for scope in scopes},
            }
        },
    }


def _add_refusals(operation: dict[str, Any], schema: dict[str, Any]) -> None:
    problem = "Problem" in schema["components"].get("schemas", {})
    body = {"schema": {"$ref": "#/components/schemas/Problem"} if problem else {"type": "object"}}
    for status, description in REFUSALS.items():
        operation["responses"].setdefault(
            status, {"description": description, "content": {"application/problem+json": body}}
        )
