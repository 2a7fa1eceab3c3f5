"""An issuer of access tokens for development and tests: what Auth0 does, on this machine.

It signs whatever it is asked for. The service accepts it only while AUTH0_DEV_ISSUER names it.
"""

import json
import secrets
import sys
import threading
import time
import urllib.request
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

from ..extras import extra
from .project import Project

with extra("auth0", "dalkit.dev.issuer"):
    import jwt
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
    from jwt.algorithms import RSAAlgorithm

AUDIENCE = "https://api.example.com"
LIFETIME = 8 * 3600  # seconds
LOOPBACK = {"127.0.0.1", "localhost", "::1"}


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


class Login(NamedTuple):
    """What was asked for at /authorize, until its code is exchanged for a token."""

    challenge: str
    redirect_uri: str
    scopes: list[str]
    audience: str | None


class Server(ThreadingTCPServer):
    """One issuer's server; not HTTPServer, which looks its own name up in the DNS."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, issuer: Issuer) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.issuer = issuer
        self.logins: dict[str, Login] = {}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report a mistake of ours; say nothing about a client that hung up."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Answers one request. Only pages and tools of this machine are served."""

    server: Server

    def do_GET(self) -> None:
        """Serve the key set and the login page, which asks nothing."""
        url = urlsplit(self.path)
        if url.path == "/.well-known/jwks.json":
            self._answer(200, self.server.issuer.key_set())
        elif url.path == "/authorize":
            self._authorize(dict(parse_qsl(url.query)))
        else:
            self._answer(404, {"error": "not_found"})

    def do_POST(self) -> None:
        """Serve tokens."""
        form = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
        if self.path == "/oauth/token" and self._is_local(f"//{self.headers.get('Host', '')}"):
            self._token(dict(parse_qsl(form)))
        else:
            self._answer(404, {"error": "not_found"})

    def do_OPTIONS(self) -> None:
        """Let the docs page ask for its token."""
        self._answer(204)

    def _authorize(self, query: dict[str, str]) -> None:
        redirect_uri, challenge = query.get("redirect_uri", ""), query.get("code_challenge", "")
        if query.get("code_challenge_method") != "S256" or not challenge:
            self._answer(400, {"error": "invalid_request", "error_description": "PKCE needed"})
        elif not self._is_local(redirect_uri):
            self._answer(400, {"error": "invalid_request", "error_description": "redirect_uri"})
        else:
            code = secrets.token_urlsafe(16)
            scopes = query.get("scope", "").split()
            login = Login(challenge, redirect_uri, scopes, query.get("audience"))
            self.server.logins[code] = login
            back = urlencode({"code": code, "state": query.get("state", "")})
            self._answer(302, Location=f"{redirect_uri}?{back}")

    def _token(self, form: dict[str, str]) -> None:
        if form.get("grant_type") == "client_credentials":
            self._grant(form.get("scope", "").split(), form.get("audience"))
            return
        login = self.server.logins.pop(form.get("code", ""), None)
        digest = sha256(form.get("code_verifier", "").encode()).digest()
        challenge = urlsafe_b64encode(digest).rstrip(b"=").decode()
        asked = (challenge, form.get("redirect_uri"))
        if login is None or asked != (login.challenge, login.redirect_uri):
            self._answer(400, {"error": "invalid_grant"})
        else:
            self._grant(login.scopes, login.audience)

    def _grant(self, scopes: list[str], audience: str | None) -> None:
        claims = {"aud": audience} if audience else {}
        token = self.server.issuer.token(scopes, **claims)
        self._answer(200, {"access_token": token, "token_type": "Bearer"})

    def _is_local(self, url: str) -> bool:
        return urlsplit(url).hostname in LOOPBACK

    def _answer(self, status: int, body: Any = None, **headers: str) -> None:
        content = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        origin = self.headers.get("Origin", "")
        if self._is_local(origin):  # any other page could fetch itself a token
            self.send_header("Access-Control-Allow-Origin", origin)
            self.send_header("Access-Control-Allow-Headers", "Authorization, X-Requested-With")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing: the service's own log is on the same terminal."""


@contextmanager
def issuer(audience: str = AUDIENCE) -> Iterator[Issuer]:
    """Yield an issuer that is served on a free port of the loopback."""
    it = Issuer(audience)
    with Server(it) as server:
        it.url = f"http://127.0.0.1:{server.server_address[1]}/"
        # The poll interval is how long leaving may take.
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield it
        finally:
            server.shutdown()


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


def print_token(project: Project, scopes: Sequence[str], port: str | None) -> None:
    """Print a token with `scopes`, and to stderr a curl line that uses it.

    The issuer is that of the service on `port`, without one of whichever was started first. Exits
    with a sentence when none is running.
    """
    for address in addresses(project, port):
        try:
            token = fetch_token(address.read_text(), scopes)
        except (OSError, ValueError):  # nobody removed the file of a killed process
            continue
        print(token, flush=True)
        api = f"http://127.0.0.1:{address.name}"
        print(f"\ncurl -H 'Authorization: Bearer {token}' {api}/v1/me", file=sys.stderr)
        return
    given = f" PORT={port}" if port else ""
    sys.exit(f"No issuer is running: start the service with `make run{given}` first.")


def addresses(project: Project, port: str | None) -> list[Path]:
    """Return the files with the issuers' URLs, each named after its service's port, oldest first.

    Only the one of `port` if given.
    """
    found = [path for path in project.issuers.glob("*") if port in (None, "", path.name)]
    return sorted(found, key=lambda path: path.stat().st_mtime)


def fetch_token(issuer: str, scopes: Sequence[str]) -> str:
    """Return a token of the running issuer; raises OSError when it does not answer."""
    form = {"grant_type": "client_credentials", "scope": " ".join(scopes)}
    body = urlencode(form).encode()
    # No proxy: the issuer is on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{issuer}oauth/token", body, timeout=3) as response:
        return str(json.load(response)["access_token"])
