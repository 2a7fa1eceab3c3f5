"""The tokens of a test: real ones, of a real issuer on the loopback."""

from collections.abc import Callable, Iterator
from functools import cache

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import ASGIApp

from ..data.transaction import TransactionManager
from ..dev.issuer import Issuer
from ..dev.issuer import issuer as run_issuer
from .app import client_of


@pytest.fixture(scope="session")
def issuer() -> Iterator[Issuer]:
    """Run an issuer: its key set is fetched over HTTP like Auth0's."""
    with run_issuer() as it:
        yield it


@pytest.fixture(scope="session", autouse=True)
def auth_settings(issuer: Issuer, forgotten_variables: None) -> Iterator[None]:
    """Make every app of the session accept the issuer's tokens."""
    with pytest.MonkeyPatch.context() as environment:
        for name in ("AUTH0_DOMAIN", "AUTH0_ORG_ID", "AUTH0_CLIENT_ID"):  # whatever .env says
            environment.setenv(name, "")
        environment.setenv("AUTH0_DEV_ISSUER", issuer.url)
        environment.setenv("AUTH0_AUDIENCE", issuer.audience)
        yield


@pytest.fixture(scope="session")
def token(issuer: Issuer) -> Callable[..., str]:
    """Return `token(scopes=["read:books"], **claims)`; a claim that is None is left out."""
    return issuer.token


@pytest.fixture(scope="session")
def full_token(issuer: Issuer) -> Callable[[FastAPI], str]:
    """Return `full_token(app)`, with every scope that its routes name; signed once per key."""
    signed = cache(lambda scopes, kid: issuer.token(scopes=scopes))

    def full(app: FastAPI) -> str:
        scheme = app.openapi()["components"]["securitySchemes"]["Auth0"]
        return signed(tuple(scheme["flows"]["authorizationCode"]["scopes"]), issuer.kid)

    return full


@pytest.fixture(autouse=True)
def signed_in(request: pytest.FixtureRequest, full_token: Callable[[FastAPI], str]) -> None:
    """Give `client`, in tests that use it, a token."""
    if "client" in request.fixturenames:
        token = full_token(request.getfixturevalue("app"))
        request.getfixturevalue("client").headers["Authorization"] = f"Bearer {token}"


@pytest.fixture
def anonymous(running_app: ASGIApp, transaction: TransactionManager) -> httpx.AsyncClient:
    """Return a client like `client`, without a token."""
    return client_of(running_app)
