"""Verify the access tokens of one Auth0 tenant for one API."""

import hashlib
import logging
import time
from collections.abc import Callable
from typing import Any, Self
from urllib.parse import urlencode

import httpx
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from pydantic import ValidationError

from ..outgoing import check_outgoing, tls
from ..settings import BadSetting, Settings, auth0_mistakes
from ..web.openapi import operations_of
from .errors import InvalidToken, Refusal
from .keys import TIMEOUT, SigningKeys, fetch_key_set
from .token import LEEWAY, read_key_id, verified_claims
from .user import User, granted_scopes

logger = logging.getLogger(__name__)

SCHEME = "Auth0"  # the mark by which OpenAPI knows a guarded route
REFUSALS = {
    "401": "No access token, or an invalid one; see `WWW-Authenticate`",
    "403": "The access token lacks a scope or a claim",
    "503": "The issuer's keys cannot be fetched; see `Retry-After`",
}


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
        """Raises ValueError, which says what to set."""
        if mistakes := auth0_mistakes(domain, dev_issuer, api_audience, client_id):
            raise ValueError(" ".join(mistakes))
        self.issuer = dev_issuer or f"https://{domain}/"
        self.audience, self.org_id, self.client_id = api_audience, org_id or None, client_id
        self.for_development = bool(dev_issuer)
        self._user_model = user_model
        # What tokens proved until when (Unix time), while the issuer still has the key. By digest:
        # the tokens are not kept.
        self._verified: dict[bytes, tuple[User, float, str, RSAPublicKey]] = {}
        self._cache_size = cache_size
        self._client: httpx.AsyncClient | None = None
        self._url = f"{self.issuer}.well-known/jwks.json"
        self.keys = SigningKeys(self._fetch, url=self._url, clock=clock)

    @classmethod
    def from_settings(cls, settings: Settings, *, user_model: type[User] = User) -> Self:
        """Return the one that AUTH0_* describe; raises BadSetting when there is none.

        `user_model` is what handlers get: see `User`.
        """
        domain, issuer = settings.auth0_domain, settings.auth0_dev_issuer
        audience, client_id = settings.auth0_audience, settings.auth0_client_id
        if mistakes := auth0_mistakes(domain, issuer, audience, client_id):
            raise BadSetting(*mistakes)
        if not issuer:
            check_outgoing()
        options: Any = {"client_id": client_id, "dev_issuer": issuer, "user_model": user_model}
        return cls(domain, audience, settings.auth0_org_id, **options)

    @property
    def docs_login(self) -> dict[str, Any]:
        """For `FastAPI(swagger_ui_init_oauth=...)`: the docs page logs in with PKCE (RFC 7636)."""
        return {"clientId": self.client_id, "usePkceWithAuthorizationCodeGrant": True}

    def describe(self, document: dict[str, Any]) -> None:
        """Add the login and the refusals to an OpenAPI document; for `dalkit.web.document`."""
        operations = [
            operation
            for *_, operation in operations_of(document)
            if any(SCHEME in needed for needed in operation.get("security", ()))
        ]
        needed = [each for operation in operations for each in operation["security"]]
        scopes = {scope for each in needed for scope in each.get(SCHEME, ())}
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
        about = f"An access token of {self.issuer} for {self.audience}"
        return {"type": "oauth2", "description": about, "flows": {"authorizationCode": flow}}

    async def __aenter__(self) -> Self:
        if self.for_development:
            logger.warning("DEVELOPMENT ONLY: tokens of %s are accepted", self.issuer)
        # A proxy of the environment is for the internet, not for an issuer on this machine.
        self._client = httpx.AsyncClient(
            timeout=TIMEOUT,
            verify=self.for_development or tls(),  # its URL is http
            follow_redirects=False,
            trust_env=not self.for_development,
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        )
        self.keys.start_refresh()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.keys.close()
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def verify(self, token: str) -> User:
        """Return the user; raises InvalidToken (401), KeysUnavailable (503) or Refusal (403)."""
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        if proved := self._verified.get(digest):
            user, expires, kid, key = proved
            # Asking for the key each time lets go of a token whose key the issuer has removed.
            if time.time() < expires:
                at_hand = self.keys.at_hand(kid)  # costs no task's turn
                if (await self.keys.get(kid) if at_hand is None else at_hand) is key:
                    return user
        kid = read_key_id(token)
        found = await self.keys.get(kid)
        if found is None:
            raise InvalidToken("key is not the issuer's")
        claims = verified_claims(token, found, self.audience, self.issuer)
        user = self._user(claims)
        self._verified[digest] = user, int(claims["exp"]) + LEEWAY, kid, found
        while len(self._verified) > self._cache_size:  # the oldest leaves first
            del self._verified[next(iter(self._verified))]
        return user

    def _user(self, claims: dict[str, Any]) -> User:
        if self.org_id is not None and claims.get("org_id") != self.org_id:
            raise InvalidToken("organization is another")
        try:
            return self._user_model.model_validate({**claims, "scopes": granted_scopes(claims)})
        except ValidationError as error:
            names = sorted({str(problem["loc"][0]) for problem in error.errors() if problem["loc"]})
            logger.info("access token forbidden: claims missing or invalid: %s", ", ".join(names))
            detail = "The access token lacks a claim that this service needs."
            raise Refusal(403, detail, error="insufficient_scope") from None

    async def _fetch(self) -> Any:
        if self._client is None:
            raise RuntimeError("Auth0 is not open: enter it (`async with auth0:`) in the lifespan")
        return await fetch_key_set(self._client, self._url)
