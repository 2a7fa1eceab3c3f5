"""Find the access token of a request or a WebSocket handshake."""

from itertools import pairwise

from starlette.requests import HTTPConnection

from .errors import no_credentials, several_credentials

SUBPROTOCOL = "bearer"


def bearer_token(connection: HTTPConnection) -> str:
    """Return the token as it was sent; raises HTTPException when there is none or more than one.

    It comes in the Authorization header (RFC 6750 section 2.1). A browser cannot set headers on a
    WebSocket: there, it may come as the subprotocol after `bearer` instead. Never in the URL, which
    is logged along the way.
    """
    headers = connection.headers.getlist("authorization")
    if len(headers) > 1:
        raise several_credentials()
    tokens = [
        token.strip(" ")
        for scheme, _, token in [header.partition(" ") for header in headers]
        if scheme.lower() == "bearer"
    ]
    tokens += _subprotocol_tokens(connection)
    if len(tokens) > 1:
        raise several_credentials()
    if not tokens or not tokens[0]:
        raise no_credentials()
    return tokens[0]


def _subprotocol_tokens(connection: HTTPConnection) -> list[str]:
    offered: list[str] = connection.scope.get("subprotocols", [])  # only a WebSocket's scope has it
    return [token for name, token in pairwise(offered) if name == SUBPROTOCOL]
