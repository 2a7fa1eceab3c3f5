"""The refusals of RFC 6750 section 3, as the exceptions that end a request or a WebSocket.

Their texts are fixed: nothing that a client sent appears in an answer.
"""

from fastapi import HTTPException, WebSocketException
from starlette.requests import HTTPConnection

NO_STORE = {"Cache-Control": "no-store"}


class Refusal(HTTPException):
    """An answer whose `WWW-Authenticate` says why, with these parameters when there is an error."""

    def __init__(self, status: int, detail: str, **parameters: str) -> None:
        described = {**parameters, "error_description": detail} if parameters else {}
        pairs = [f'{name}="{value}"' for name, value in {"realm": "api", **described}.items()]
        challenge = f"Bearer {', '.join(pairs)}"
        super().__init__(status, detail, {"WWW-Authenticate": challenge, **NO_STORE})


class InvalidToken(Refusal):
    """401: it proves nothing. `reason` is for the log: fixed words, never a part of the token."""

    def __init__(self, reason: str, *, expired: bool = False) -> None:
        detail = "The access token expired." if expired else "The access token is invalid."
        super().__init__(401, detail, error="invalid_token")
        self.reason = reason


class KeysUnavailable(HTTPException):
    """503: there is no key to verify with. None was ever fetched, or what is known is too old."""

    def __init__(self) -> None:
        detail = "Access tokens cannot be verified at the moment."
        super().__init__(503, detail, {"Retry-After": "5", **NO_STORE})


def for_connection(
    connection: HTTPConnection, refusal: HTTPException
) -> HTTPException | WebSocketException:
    """Return the refusal, for a WebSocket as the close code that takes its place."""
    if connection.scope["type"] != "websocket":
        return refusal
    later = isinstance(refusal, KeysUnavailable)
    return WebSocketException(1013 if later else 1008, refusal.detail)  # or: policy violation
