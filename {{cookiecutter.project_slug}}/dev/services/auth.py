"""The issuer of access tokens, unless a tenant or an issuer is configured."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from dev.issuer import ADDRESS, AUDIENCE, issuer


@contextmanager
def service(environment: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
    """Yield the settings that make the service accept the issuer's tokens."""
    if environment.get("AUTH0_DOMAIN") or environment.get("AUTH0_DEV_ISSUER"):
        yield {}
        return
    with issuer(environment.get("AUTH0_AUDIENCE") or AUDIENCE) as it:
        ADDRESS.parent.mkdir(exist_ok=True)
        ADDRESS.write_text(it.url)
        print('  a token: make token SCOPES="read:books write:books"  (or Authorize in /docs)')
        try:
            yield {
                "AUTH0_DEV_ISSUER": it.url,
                "AUTH0_AUDIENCE": it.audience,
                "AUTH0_CLIENT_ID": environment.get("AUTH0_CLIENT_ID") or "docs",
            }
        finally:
            ADDRESS.unlink(missing_ok=True)
