"""Print a token of the issuer that `make run` started: python -m dev.issuer read:books"""

import argparse
import json
import os
import sys
import urllib.parse
import urllib.request
from pathlib import Path

from . import ADDRESSES


def main() -> None:
    """Print the token, and to stderr a curl line that uses it."""
    parser = argparse.ArgumentParser(prog="python -m dev.issuer", description=__doc__)
    parser.add_argument("scopes", nargs="*", metavar="SCOPE", help="for example read:books")
    parser.add_argument(
        "--port",
        default=os.environ.get("PORT"),
        help="of the service; default: PORT, or whichever was started first",
    )
    options = parser.parse_args()
    scopes = " ".join(options.scopes).split()
    for address in addresses(options.port):
        try:
            token = fetch_token(address.read_text(), scopes)
        except (OSError, ValueError):  # nobody removed the file of a killed process
            continue
        print(token, flush=True)
        api = f"http://127.0.0.1:{address.name}"
        print(f"\ncurl -H 'Authorization: Bearer {token}' {api}/v1/me", file=sys.stderr)
        return
    port = f" PORT={options.port}" if options.port else ""
    sys.exit(f"No issuer is running: start the service with `make run{port}` first.")


def addresses(port: str | None) -> list[Path]:
    """Return the files with the issuers' URLs, each named after its service's port, oldest first.

    Only the one of `port` if given.
    """
    found = [path for path in ADDRESSES.glob("*") if port in (None, "", path.name)]
    return sorted(found, key=lambda path: path.stat().st_mtime)


def fetch_token(issuer: str, scopes: list[str]) -> str:
    """Return a token of the running issuer; raises OSError when it does not answer."""
    form = {"grant_type": "client_credentials", "scope": " ".join(scopes)}
    body = urllib.parse.urlencode(form).encode()
    # No proxy: the issuer is on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{issuer}oauth/token", body, timeout=3) as response:
        return str(json.load(response)["access_token"])


if __name__ == "__main__":
    main()
