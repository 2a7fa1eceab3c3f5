"""The issuer of access tokens, unless a tenant or an issuer is configured."""

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from dev.issuer import ADDRESSES, AUDIENCE, PROJECT, issuer


@contextmanager
def service(environment: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
    """Yield the settings that make the service on PORT accept the issuer's tokens."""
    if environment.get("AUTH0_DOMAIN") or environment.get("AUTH0_DEV_ISSUER"):
        yield {}
        return
    port = environment.get("PORT") or "8000"
    with issuer(environment.get("AUTH0_AUDIENCE") or AUDIENCE) as it, publish(port, it.url):
        make = f"make -s -C {shlex.quote(str(PROJECT))} token PORT={port}"
        print(f'  a token: {make} SCOPES="read:books write:books"  (or Authorize in /docs)')
        yield {
            "AUTH0_DEV_ISSUER": it.url,
            "AUTH0_AUDIENCE": it.audience,
            "AUTH0_CLIENT_ID": environment.get("AUTH0_CLIENT_ID") or "docs",
        }


@contextmanager
def publish(port: str, url: str) -> Iterator[None]:
    """Let `make token` find the issuer meanwhile."""
    address = ADDRESSES / port
    address.parent.mkdir(parents=True, exist_ok=True)
    address.write_text(url)
    try:
        yield
    finally:
        # The next run on this port may have begun.
        if address.exists() and address.read_text() == url:
            address.unlink()
