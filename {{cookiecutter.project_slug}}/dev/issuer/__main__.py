"""Print a token of the issuer that `make run` started: python -m dev.issuer read:books"""

import argparse
import json
import sys
import urllib.parse
import urllib.request

from . import ADDRESS


def main() -> None:
    """Print the token and a curl line that uses it."""
    parser = argparse.ArgumentParser(prog="python -m dev.issuer", description=__doc__)
    parser.add_argument("scopes", nargs="*", metavar="SCOPE", help="for example read:books")
    parser.add_argument("--api", default="http://127.0.0.1:8000", help="where the service is")
    options = parser.parse_args()
    try:
        token = fetch_token(ADDRESS.read_text(), options.scopes)
    except OSError:
        sys.exit("No issuer is running: start the service with `make run` first.")
    print(token)
    print(f"\ncurl -H 'Authorization: Bearer {token}' {options.api}/v1/me")


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
