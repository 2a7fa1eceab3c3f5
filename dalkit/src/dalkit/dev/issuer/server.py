"""The issuer over HTTP: its key set, the login of the docs page (PKCE) and tokens on request."""

import json
import secrets
import sys
import threading
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any, NamedTuple, Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit

LOOPBACK = {"127.0.0.1", "localhost", "::1"}


class Signer(Protocol):
    """Has a key set and makes tokens."""

    def key_set(self) -> dict[str, Any]: ...

    def token(self, scopes: Sequence[str], **claims: Any) -> str: ...


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

    def __init__(self, signer: Signer) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.signer = signer
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
            self._answer(200, self.server.signer.key_set())
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
        token = self.server.signer.token(scopes, **claims)
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
def serve(signer: Signer) -> Iterator[str]:
    """Yield the URL at which the signer is served, ending in a slash."""
    with Server(signer) as server:
        # The poll interval is how long leaving may take.
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
