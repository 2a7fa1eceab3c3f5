"""The documentation says how to log in, what a route requires and how it refuses."""

from typing import Any

import pytest

from dalkit.auth import Auth0

from .conftest import guarded_app


@pytest.fixture
def schema() -> dict[str, Any]:
    """The OpenAPI of the small app for a tenant."""
    auth0 = Auth0("team.eu.auth0.com", "https://api.example.com/?v=1&x", client_id="docs")
    app = guarded_app(auth0)
    app.openapi()
    return app.openapi()


def test_login(schema: dict[str, Any]) -> None:
    """Authorization code flow of the tenant, with the audience and every scope of the app."""
    scheme = schema["components"]["securitySchemes"]["Auth0"]
    assert scheme["type"] == "oauth2"
    assert scheme["flows"] == {
        "authorizationCode": {
            "authorizationUrl": "https://team.eu.auth0.com/authorize"
            "?audience=https%3A%2F%2Fapi.example.com%2F%3Fv%3D1%26x",
            "tokenUrl": "https://team.eu.auth0.com/oauth/token",
            "scopes": {"read:books": "Allows read:books", "write:books": "Allows write:books"},
        }
    }


@pytest.mark.parametrize(
    ("path", "scopes"),
    [
        ("/any/sub", []),
        ("/reads/sub", ["read:books"]),
        ("/both/sub", ["read:books", "write:books"]),
        ("/v1/me", []),
    ],
)
def test_guarded_route(path: str, scopes: list[str], schema: dict[str, Any]) -> None:
    """Each with its scopes and the refusals."""
    operation = schema["paths"][path]["get"]
    assert operation["security"] == [{"Auth0": scopes}]
    assert {"401", "403", "503"} <= operation["responses"].keys()


def test_public_route(schema: dict[str, Any]) -> None:
    """It shows no lock and no refusal."""
    operation = schema["paths"]["/public"]["get"]
    assert "security" not in operation
    assert operation["responses"].keys() == {"200"}


def test_docs_page_logs_in_with_pkce() -> None:
    """The page has a client id and never a secret."""
    app = guarded_app(Auth0("team.eu.auth0.com", "https://api.example.com", client_id="docs"))
    assert app.swagger_ui_init_oauth == {
        "clientId": "docs",
        "usePkceWithAuthorizationCodeGrant": True,
    }


def test_two_apps_document_their_own_tenant() -> None:
    """The guarded routes are shared, the login is not."""
    for domain in ("one.auth0.com", "two.auth0.com"):
        schema = guarded_app(Auth0(domain, "https://api.example.com")).openapi()
        flows = schema["components"]["securitySchemes"]["Auth0"]["flows"]
        assert flows["authorizationCode"]["tokenUrl"] == f"https://{domain}/oauth/token"
