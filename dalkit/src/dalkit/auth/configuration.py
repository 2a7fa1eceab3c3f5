"""What is wrong with the settings, in one sentence each."""

import re

DOMAIN = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+(:\d+)?")
ISSUER = re.compile(r"https?://[^/?#\s]+(/[^?#\s]+)?/")


def check_issuer(domain: str, dev_issuer: str | None) -> None:
    """Raises ValueError unless one of them names an issuer."""
    if dev_issuer:
        if not ISSUER.fullmatch(dev_issuer):
            raise ValueError(
                f"AUTH0_DEV_ISSUER is {dev_issuer!r}: write an http URL ending in '/', "
                "for example http://127.0.0.1:9000/."
            )
    elif not domain.strip():
        raise ValueError(
            "AUTH0_DOMAIN is blank: set it to your tenant's domain, for example "
            "my-team.eu.auth0.com (or set AUTH0_DEV_ISSUER to develop without an account)."
        )
    elif not DOMAIN.fullmatch(domain):
        raise ValueError(
            f"AUTH0_DOMAIN is {domain!r}: write the host name only, for example "
            "my-team.eu.auth0.com."
        )


def check_audience(audience: str, client_id: str) -> None:
    """Raises ValueError when it is missing, or would let id tokens in."""
    if not audience.strip():
        raise ValueError(
            "AUTH0_AUDIENCE is blank: set it to your API's identifier in Auth0, for example "
            "https://api.example.com."
        )
    if audience == client_id:
        raise ValueError(
            "AUTH0_AUDIENCE is the same as AUTH0_CLIENT_ID: set it to your API's identifier, "
            "or id tokens would be taken for access tokens."
        )
