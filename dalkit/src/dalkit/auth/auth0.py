"""Verify the access tokens of one Auth0 tenant for one API."""

import logging
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import httpx
from pydantic import ValidationError

from ..settings import BadSetting, Settings
from ..web.openapi import operations_of
from .configuration import check_audience, check_issuer
from .fetch import fetch_key_set, key_client
from .keys import SigningKeys
from .scheme import SCHEME
from .token import LEEWAY, InvalidToken, read_key_id, verified_claims
from .user import User, granted_scopes
from .verified import Verified, VerifiedTokens

logger = logging.getLogger(__name__)


REFUSALS = {
    "401": "No access token, or an invalid one; see `WWW-Authenticate`",
    "403": "The access token lacks a scope or a claim",
    "503": "The issuer's keys cannot be fetched; see `Retry-After`",
}


class ForbiddenUser(Exception):
    """The token is valid, but lacks a claim that the user model asks for."""


class Auth0:
    """Tokens of `domain` for `api_audience`, of the organization `org_id` when there is one.

    An async context manager: it holds the HTTP client for the issuer's keys, and starts to fetch
    them on entering, without waiting. `dev_issuer` (an http URL ending in `/`) takes the place of
    the tenant in development. `cache_size` is a number of tokens, 0 for no cache. `clock` (seconds)
    tells the age of the keys.
    """

    def __init__(
        self,
        domain: str = "",
        api_audience: str = "",
        org_id: str | None = None,
        *,
        client_id: str = "",
        dev_issuer: str | None = None,
        user_model: type[User] = User,
        cache_size: int = 1024,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises ValueError, one sentence that says what to set."""
        self.issuer = dev_issuer or f"https://{domain}/"
        self.audience, self.org_id, self.client_id = api_audience, org_id or None, client_id
        self.for_development = bool(dev_issuer)
        check_issuer(domain, dev_issuer)
        check_audience(api_audience, client_id)
        self._user_model = user_model
        self._verified = VerifiedTokens(cache_size)
        self._client: httpx.AsyncClient | None = None
        self.keys = SigningKeys(self._fetch, clock=clock)

    @classmethod
    def from_settings(cls, settings: Settings, *, user_model: type[User] = User) -> Self:
        """Return the one that AUTH0_* describe; raises BadSetting, one sentence."""
        if settings.auth0_dev_issuer and settings.environment == "production":
            raise BadSetting(
                "AUTH0_DEV_ISSUER is set in production: unset it, or anyone may log in."
            )
        try:
            return cls(
                domain=settings.auth0_domain,
                api_audience=settings.auth0_audience,
                org_id=settings.auth0_org_id,
                client_id=settings.auth0_client_id,
                dev_issuer=settings.auth0_dev_issuer,
                user_model=user_model,
            )
        except ValueError as error:
            raise BadSetting(str(error)) from None

    @property
    def docs_login(self) -> dict[str, Any]:
        """For `FastAPI(swagger_ui_init_oauth=...)`: the docs page logs in with PKCE (RFC 7636)."""
        return {"clientId": self.client_id, "usePkceWithAuthorizationCodeGrant": True}

    def describe(self, document: dict[str, Any]) -> None:
        """Add the login and the refusals to an OpenAPI document; for `dalkit.web.document`."""
        operations = [each for *_, each in operations_of(document) if _is_guarded(each)]
        scopes = {scope for each in operations for scope in _scopes(each)}
        if operations:
            document["components"]["securitySchemes"][SCHEME] = self._scheme(sorted(scopes))
        for operation in operations:
            for status, description in REFUSALS.items():
                operation["responses"].setdefault(status, {"description": description})

    def _scheme(self, scopes: list[str]) -> dict[str, Any]:
        # Auth0 issues a token for an API only to who names it: without audience it is opaque.
        audience = urlencode({"audience": self.audience})
        flow = {
            "authorizationUrl": f"{self.issuer}authorize?{audience}",
            "tokenUrl": f"{self.issuer}oauth/token",
            "scopes": {scope: f"Allows {scope}" for scope in scopes},
        }
        return {
            "type": "oauth2",
            "description": f"An access token of {self.issuer} for {self.audience}",
            "flows": {"authorizationCode": flow},
        }

    async def __aenter__(self) -> Self:
        if self.for_development:
            logger.warning("DEVELOPMENT ONLY: tokens of %s are accepted", self.issuer)
        # A proxy of the environment is for the internet, not for an issuer on this machine.
        self._client = key_client(trust_env=not self.for_development)
        self.keys.start_refresh()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.keys.close()
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def verify(self, token: str) -> User:
        """Return the user; raises InvalidToken, KeysUnavailable or ForbiddenUser."""
        known = self._verified.get(token)
        # Asking for the key each time lets go of a token whose key the issuer has removed.
        if known is not None and await self.keys.get(known.kid) is known.key:
            return known.user
        kid = read_key_id(token)
        key = await self.keys.get(kid)
        if key is None:
            raise InvalidToken("key is not the issuer's")
        claims = verified_claims(token, key, self.audience, self.issuer)
        user = self._user(claims)
        self._verified.put(token, Verified(user, kid, key, int(claims["exp"]) + LEEWAY))
        return user

    def _user(self, claims: dict[str, Any]) -> User:
        if self.org_id is not None and claims.get("org_id") != self.org_id:
            raise InvalidToken("organization is another")
        try:
            return self._user_model.model_validate({**claims, "scopes": granted_scopes(claims)})
        except ValidationError as error:
            names = sorted({str(problem["loc"][0]) for problem in error.errors() if problem["loc"]})
            logger.info("access token forbidden: claims missing or invalid: %s", ", ".join(names))
            raise ForbiddenUser from None

    async def _fetch(self) -> Any:
        if self._client is None:
            raise RuntimeError("Auth0 is not open: enter it (`async with auth0:`) in the lifespan")
        return await fetch_key_set(self._client, f"{self.issuer}.well-known/jwks.json")


def _is_guarded(operation: dict[str, Any]) -> bool:
    return any(SCHEME in requirement for requirement in operation.get("security", ()))


def _scopes(operation: dict[str, Any]) -> list[str]:
    return [scope for each in operation["security"] for scope in each.get(SCHEME, ())]
