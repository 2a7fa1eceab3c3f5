"""The development issuer: the docs page's login, tokens on request, and nothing for other sites."""

import os
import shlex
import subprocess
import sys
from base64 import urlsafe_b64encode
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest

from dalkit.auth import Auth0
from dalkit.cli import main
from dalkit.dev.issuer import Issuer, published, serve
from dalkit.dev.project import Project, find_project
from dalkit.dev.run import token_issuer
from dalkit.dev.supervisor import free_port
from dalkit.dev.token import fetch_token, token_command

from tests.dev.processes import eventually

PLAIN: Any = {"trust_env": False, "verify": False}  # no proxy, and no certificates to load
VERIFIER = "v" * 43
CHALLENGE = urlsafe_b64encode(sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
REDIRECT = "http://127.0.0.1:8000/docs/oauth2-redirect"
LOGIN = {
    "response_type": "code",
    "client_id": "docs",
    "redirect_uri": REDIRECT,
    "scope": "read:books",
    "state": "s&1",
    "audience": "https://api.example.com",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
}


def authorize(issuer: Issuer, **changes: str) -> httpx.Response:
    """Return the answer to a login."""
    return httpx.get(f"{issuer.url}authorize", params={**LOGIN, **changes}, **PLAIN)


def exchange(issuer: Issuer, code: str, **changes: str) -> httpx.Response:
    """Return the answer to a code."""
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT}
    form |= {"code_verifier": VERIFIER, "client_id": "docs", **changes}
    return httpx.post(f"{issuer.url}oauth/token", data=form, **PLAIN)


def code_of(response: httpx.Response) -> str:
    """Return the code that a login gives."""
    return parse_qs(urlsplit(response.headers["location"]).query)["code"][0]


async def test_login_with_pkce(issuer: Issuer, auth0: Auth0) -> None:
    """What the docs page does ends in a token that the service accepts."""
    back = authorize(issuer)
    assert back.status_code == 302
    assert back.headers["location"].startswith(f"{REDIRECT}?")
    assert parse_qs(urlsplit(back.headers["location"]).query)["state"] == ["s&1"]
    answer = exchange(issuer, code_of(back)).json()
    assert answer["token_type"] == "Bearer"
    async with auth0:
        user = await auth0.verify(answer["access_token"])
    assert user.scopes == {"read:books"}


@pytest.mark.parametrize(
    "changes",
    [
        {"code_challenge": ""},
        {"code_challenge_method": "plain"},
        {"redirect_uri": "https://evil.example.com/"},
        {"redirect_uri": "//evil.example.com/"},
        {"redirect_uri": ""},
    ],
)
def test_login_that_leads_elsewhere(changes: dict[str, str], issuer: Issuer) -> None:
    """Without PKCE, or back to another machine: 400."""
    assert authorize(issuer, **changes).status_code == 400


@pytest.mark.parametrize(
    "changes",
    [{"code_verifier": "w" * 43}, {"code_verifier": ""}, {"redirect_uri": "http://localhost/"}],
)
def test_code_of_somebody_else(changes: dict[str, str], issuer: Issuer) -> None:
    """A code is good only for who asked for it, and only once."""
    code = code_of(authorize(issuer))
    assert exchange(issuer, code, **changes).status_code == 400
    assert exchange(issuer, code).status_code == 400


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [("http://127.0.0.1:8000", True), ("http://localhost", True), ("https://evil.example", False)],
)
def test_only_local_pages_may_read_the_answer(origin: str, allowed: bool, issuer: Issuer) -> None:
    """A page of the internet, open in the same browser, gets no token."""
    headers = {"Origin": origin}
    asked = {"Access-Control-Request-Method": "POST"}
    asked["Access-Control-Request-Headers"] = "authorization,x-requested-with"
    for method, more in (("OPTIONS", asked), ("POST", {})):
        url = f"{issuer.url}oauth/token"
        response = httpx.request(method, url, headers=headers | more, **PLAIN)
        assert (response.headers.get("access-control-allow-origin") == origin) is allowed
        assert response.status_code != 400 or method == "POST" or not allowed


def test_name_that_resolves_here(issuer: Issuer) -> None:
    """A page that rebinds its own name to the loopback gets no token either."""
    form = {"grant_type": "client_credentials"}
    headers = {"Host": "evil.example"}
    url = f"{issuer.url}oauth/token"
    assert httpx.post(url, data=form, headers=headers, **PLAIN).status_code == 404


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose folder of the issuers' addresses is not yet made."""
    monkeypatch.delenv("PORT", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text('[tool.dalkit]\npackage = "my_service"\n')
    return find_project()


def command(*arguments: str) -> None:
    """Run the command."""
    main(["token", *arguments], standalone_mode=False)


async def test_command(
    issuer: Issuer, auth0: Auth0, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """Prints nothing but a token with the scopes asked for."""
    with published(project, "8123", issuer.url):
        command("--", "read:books write:books")
    output, hint = capsys.readouterr()
    async with auth0:
        user = await auth0.verify(output.removesuffix("\n"))
    assert user.scopes == {"read:books", "write:books"}
    assert hint == ""


def test_command_in_a_terminal(
    issuer: Issuer,
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Prints a curl line besides, to stderr."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with published(project, "8123", issuer.url):
        command()
    output, hint = capsys.readouterr()
    token = output.removesuffix("\n")
    assert hint == f"\ncurl -H 'Authorization: Bearer {token}' http://127.0.0.1:8123/v1/me\n"


@pytest.mark.usefixtures("project")
def test_command_without_an_issuer() -> None:
    """One line that says what to start."""
    with pytest.raises(SystemExit, match=r"No issuer is running: .* `make run` first"):
        command()
    with pytest.raises(SystemExit, match=r"No issuer is running: .* `make run PORT=8001` first"):
        command("--port", "8001")


async def test_command_passes_over_what_a_killed_run_left(
    issuer: Issuer, auth0: Auth0, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    with (
        published(project, "8001", "http://127.0.0.1:1/"),
        published(project, "8002", issuer.url),
    ):
        command("")
    async with auth0:
        user = await auth0.verify(capsys.readouterr().out.removesuffix("\n"))
    assert user.sub == "dev|user"


def test_two_runs(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A token is of the first unless PORT says otherwise; the end of the second changes nothing."""
    with token_issuer(project, {"PORT": "8002"}):
        with token_issuer(project, {"PORT": "8001"}):
            for path, seconds in (("8002", 1), ("8001", 2)):
                os.utime(project.issuers / path, (seconds, seconds))
            second, first = ((project.issuers / port).read_text() for port in ("8002", "8001"))
            command()
            monkeypatch.setenv("PORT", "8001")
            command()
        monkeypatch.delenv("PORT")
        command()
    issuers = [
        jwt.decode(token, options={"verify_signature": False})["iss"]
        for token in capsys.readouterr().out.splitlines()
    ]
    assert issuers == [second, first, second]


def test_the_address_of_the_next_run_is_kept(project: Project) -> None:
    with published(project, "8000", "http://ours/"):
        (project.issuers / "8000").write_text("http://theirs/")
    assert (project.issuers / "8000").read_text() == "http://theirs/"


def test_make_run_starts_one(project: Project) -> None:
    """The served app is told about it; the command finds it while it runs, from any folder."""
    with token_issuer(project, {"AUTH0_AUDIENCE": "https://mine", "PORT": "8123"}) as environment:
        url = (project.issuers / "8123").read_text()
        assert environment["AUTH0_DEV_ISSUER"] == url
        assert environment["AUTH0_AUDIENCE"] == "https://mine"
        keys: Any = httpx.get(f"{url}.well-known/jwks.json", **PLAIN).json()
        assert [key["use"] for key in keys["keys"]] == ["sig"]
    assert not list(project.issuers.iterdir())


def test_the_command_to_type(project: Project) -> None:
    """In any folder: `make` where there is a Makefile, otherwise the console script."""
    typed = shlex.split(token_command(project, 8123, ["a", "b"]))
    assert typed == ["dalkit", "token", "--port", "8123", "a", "b"]
    (project.folder / "Makefile").touch()
    typed = shlex.split(token_command(project, 8123, ["a", "b"]))
    assert typed == ["make", "-s", "-C", str(project.folder), "token", "PORT=8123", "SCOPES=a b"]


@pytest.mark.parametrize(
    "environment", [{"AUTH0_DOMAIN": "team.auth0.com"}, {"AUTH0_DEV_ISSUER": "http://127.0.0.1:1/"}]
)
def test_make_run_respects_what_is_configured(
    environment: dict[str, str], project: Project
) -> None:
    """A tenant, or an issuer that runs already."""
    with token_issuer(project, environment) as added:
        assert added == {}


def test_addresses_are_inside_the_project(project: Project) -> None:
    """In a folder that git ignores."""
    assert project.issuers == project.folder / ".cache" / "issuers"


def test_one_that_runs_by_itself_has_the_url_that_it_is_given() -> None:
    """As compose runs it: under a name for containers and browsers, asked here by its address."""
    port = free_port()
    url = f"http://issuer.localhost:{port}/"
    program = [str(Path(sys.executable).with_name("dalkit")), "issuer"]
    environment = os.environ | {"AUTH0_DEV_ISSUER": url, "AUTH0_AUDIENCE": "mine"}
    process = subprocess.Popen(program, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == f"  an issuer for development: {url}\n"
        assert eventually(lambda: answers(port))
        token = fetch_token(f"http://127.0.0.1:{port}/", ["read:books"])
        claims = jwt.decode(token, options={"verify_signature": False})
        assert (claims["iss"], claims["aud"][0]) == (url, "mine")
        headers = {"host": f"issuer.localhost:{port}"}  # as the docs page asks
        asked = {"grant_type": "client_credentials"}
        there = f"http://127.0.0.1:{port}/oauth/token"
        assert httpx.post(there, data=asked, headers=headers, **PLAIN).status_code == 200
        elsewhere = {"host": f"issuer.localhost.evil.test:{port}"}
        assert httpx.post(there, data=asked, headers=elsewhere, **PLAIN).status_code == 404
    finally:
        process.terminate()
        process.communicate()


@pytest.mark.parametrize(
    "told", ["[]", "{}", '{"access_token": null}', '"token"', "1", "null", "<"]
)
def test_what_is_no_token_is_a_value_error(told: str) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(told.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.handle_request, daemon=True).start()
        with pytest.raises(ValueError, match=r"token|Expecting value"):
            fetch_token(f"http://127.0.0.1:{server.server_port}/", [])


def answers(port: int) -> bool:
    try:
        keys = httpx.get(f"http://127.0.0.1:{port}/.well-known/jwks.json", **PLAIN)
    except httpx.TransportError:
        return False
    return keys.status_code == 200


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1:9000/", "http://127.0.0.1:9000", "http://issuer:9000/", "here"]
)
def test_its_url_is_one_of_this_machine(url: str) -> None:
    with pytest.raises(SystemExit, match="cannot be the issuer's URL: write one of this machine"):
        serve(url, "mine", "127.0.0.1")
