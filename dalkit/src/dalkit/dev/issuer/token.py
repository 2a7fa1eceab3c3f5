"""A token of the issuer that `dalkit run` started."""

import json
import sys
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from ..project import Project


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
    body = urllib.parse.urlencode(form).encode()
    # No proxy: the issuer is on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{issuer}oauth/token", body, timeout=3) as response:
        return str(json.load(response)["access_token"])
