"""An issuer of access tokens for development and tests: what Auth0 does, on this machine.

It signs whatever it is asked for. The service accepts it only while AUTH0_DEV_ISSUER names it.
"""

import secrets
import socket
import sys
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from ..extras import extra
from .project import Project

with extra("auth0", "dalkit.dev.issuer"):
    import jwt
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
    from jwt.algorithms import RSAAlgorithm

AUDIENCE = "https://api.example.com"
LIFETIME = 8 * 3600  # seconds
SERVING: dict[str, Any] = {
    "lifespan": "off",
    "ws": "none",
    "access_log": False,
    "log_config": None,
}
LOOPBACK = {"127.0.0.1", "localhost", "::1"}
#: What compose calls its issuer: a name that both a browser here and a container there can use.
LOCAL = ".localhost"


class Issuer:
    """Signs tokens for `audience` with a key of its own; `url` ends in a slash."""

    def __init__(self, audience: str = AUDIENCE, key: RSAPrivateKey | None = None) -> None:
        self.audience = audience
        self.url = ""
        self.rotate(key)

    def rotate(self, key: RSAPrivateKey | None = None) -> None:
        """Replace the key: tokens that were signed before are no longer the issuer's."""
        self.key = key or generate_private_key(public_exponent=65537, key_size=2048)
        self.kid = secrets.token_urlsafe(8)

    def key_set(self) -> dict[str, Any]:
        """Return the JSON Web Key Set with the public key."""
        key = RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return {"keys": [{**key, "use": "sig", "alg": "RS256", "kid": self.kid}]}

    def token(self, scopes: Sequence[str] = (), **claims: Any) -> str:
        """Return a token that is valid for LIFETIME. `claims` replace its own; None removes one."""
        now = int(time.time())
        own = {
            "iss": self.url,
            "sub": "dev|user",
            "aud": [self.audience, f"{self.url}userinfo"],
            "iat": now,
            "exp": now + LIFETIME,
            "scope": " ".join(scopes),
            "permissions": list(scopes),
        }
        payload = {name: value for name, value in {**own, **claims}.items() if value is not None}
        return jwt.encode(payload, self.key, algorithm="RS256", headers={"kid": self.kid})


def is_local(host: str | None) -> bool:
    """Whether a host is this machine, by its name alone (RFC 6761 for `.localhost`)."""
    return host is not None and (host in LOOPBACK or host.endswith(LOCAL))


def application(issuer: Issuer) -> ASGIApp:
    """Return what serves the issuer, to the pages and tools of this machine only."""
    logins: dict[str, dict[str, str]] = {}  # what /authorize was asked, until its code is used

    async def keys(_: Request) -> Response:
        return JSONResponse(issuer.key_set())

    async def authorize(request: Request) -> Response:
        """The login page, which asks nothing."""
        query = dict(request.query_params)
        redirect_uri = query.get("redirect_uri", "")
        pkce = query.get("code_challenge_method") == "S256" and query.get("code_challenge")
        if not pkce or not is_local(urlsplit(redirect_uri).hostname):
            wrong = "redirect_uri" if pkce else "PKCE needed"
            return JSONResponse({"error": "invalid_request", "error_description": wrong}, 400)
        code = secrets.token_urlsafe(16)
        logins[code] = query
        back = urlencode({"code": code, "state": query.get("state", "")})
        return RedirectResponse(f"{redirect_uri}?{back}", 302)

    async def token(request: Request) -> Response:
        if not is_local(request.url.hostname):  # a page that made its own name ours
            return JSONResponse({"error": "not_found"}, 404)
        asked = form = dict(parse_qsl((await request.body()).decode()))
        if form.get("grant_type") != "client_credentials":
            asked = logins.pop(form.get("code", ""), {})
            digest = sha256(form.get("code_verifier", "").encode()).digest()
            proof = urlsafe_b64encode(digest).rstrip(b"=").decode(), form.get("redirect_uri")
            if proof != (asked.get("code_challenge"), asked.get("redirect_uri")):
                return JSONResponse({"error": "invalid_grant"}, 400)
        claims = {"aud": asked["audience"]} if asked.get("audience") else {}
        signed = issuer.token(asked.get("scope", "").split(), **claims)
        return JSONResponse({"access_token": signed, "token_type": "Bearer"})

    routes = [
        Route("/.well-known/jwks.json", keys),
        Route("/authorize", authorize),
        Route("/oauth/token", token, methods=["POST"]),
    ]
    return CORSMiddleware(  # any other page could fetch itself a token
        Starlette(routes=routes),
        allow_origin_regex=r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?",
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "X-Requested-With"],
    )


def serve(url: str, audience: str, host: str) -> None:
    """Serve an issuer with this `url` until a signal to stop, on the URL's port of `host`."""
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.path != "/" or not is_local(parts.hostname):
        sys.exit(
            f"{url!r} cannot be the issuer's URL: write one of this machine that ends in a slash,"
            " such as http://127.0.0.1:9000/ or http://issuer.localhost:9000/."
        )
    it = Issuer(audience)
    it.url = url
    print(f"  an issuer for development: {url}", flush=True)
    uvicorn.run(application(it), host=host, port=parts.port or 80, **SERVING)


@contextmanager
def issuer(audience: str = AUDIENCE) -> Iterator[Issuer]:
    """Yield an issuer that is served on a free port of the loopback."""
    it = Issuer(audience)
    server = uvicorn.Server(uvicorn.Config(application(it), **SERVING))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        it.url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        try:
            yield it
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def published(project: Project, port: str, url: str) -> Iterator[None]:
    """Let `dalkit token` find the issuer meanwhile: a file named after the port has its URL."""
    address = project.issuers / port
    address.parent.mkdir(parents=True, exist_ok=True)
    address.write_text(url)
    try:
        yield
    finally:
        # The next run on this port may have begun.
        if address.exists() and address.read_text() == url:
            address.unlink()
