"""`dalkit token`: a token of the issuer that `dalkit run` has started.

It is waited for, in a terminal, so it imports nothing that takes long.
"""

import json
import shlex
import sys
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException
from importlib.util import find_spec
from urllib.parse import urlencode, urlsplit

from ..extras import missing
from .project import Project

TIMEOUT = 3.0  # seconds


def token_command(project: Project, port: int | str, scopes: Sequence[str]) -> str:
    """Return what prints a token in whatever folder it is typed."""
    folder = shlex.quote(str(project.folder))
    if (project.folder / "Makefile").exists():
        given = f" SCOPES={shlex.quote(' '.join(scopes))}" if scopes else ""
        return f"make -s -C {folder} token PORT={port}{given}"
    return shlex.join(["dalkit", "token", "--port", str(port), *scopes])


def print_token(project: Project, scopes: Sequence[str], port: str | None) -> None:
    """Print a token with `scopes`, and to a terminal a curl line that uses it.

    The issuer is that of the service on `port`, without one of whichever was started first.
    """
    found = [path for path in project.issuers.glob("*") if port in (None, "", path.name)]
    for address in sorted(found, key=lambda path: path.stat().st_mtime):
        try:
            token = fetch_token(address.read_text(), scopes)
        except (OSError, ValueError, HTTPException):  # the file of a killed process
            continue
        print(token, flush=True)
        if sys.stdout.isatty():  # and not $(dalkit token)
            api = f"http://127.0.0.1:{address.name}"
            print(f"\ncurl -H 'Authorization: Bearer {token}' {api}/v1/me", file=sys.stderr)
        return
    if find_spec("jwt") is None:
        sys.exit(str(missing("auth0", "dalkit.dev.issuer")))
    given = f" PORT={port}" if port else ""
    sys.exit(f"No issuer is running: start the service with `make run{given}` first.")


def fetch_token(issuer: str, scopes: Sequence[str]) -> str:
    """Return a token of the issuer with this URL.

    Raises OSError or HTTPException when it does not answer, ValueError when that is no token.
    """
    form = urlencode({"grant_type": "client_credentials", "scope": " ".join(scopes)})
    connection = HTTPConnection(urlsplit(issuer).netloc, timeout=TIMEOUT)
    try:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        connection.request("POST", "/oauth/token", form, headers)
        answer = connection.getresponse()
        if answer.status != 200:
            raise ValueError(f"{issuer} answered {answer.status}")
        told = json.load(answer)
        if not isinstance(told, dict) or not isinstance(token := told.get("access_token"), str):
            raise ValueError(f"{issuer} answered without a token")
        return token
    finally:
        connection.close()
