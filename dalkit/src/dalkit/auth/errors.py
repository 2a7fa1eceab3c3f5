"""The refusals of RFC 6750 section 3, as the exceptions that end a request or a WebSocket.

Their texts are fixed: nothing that a client sent appears in an answer.
"""

from fastapi import HTTPException, WebSocketException
from starlette.requests import HTTPConnection
from starlette.status import (
    HTTP_400_BAD_REQUEST,
    HTTP_401_UNAUTHORIZED,
    HTTP_403_FORBIDDEN,
    HTTP_503_SERVICE_UNAVAILABLE,
    WS_1008_POLICY_VIOLATION,
    WS_1013_TRY_AGAIN_LATER,
)

NO_STORE = {"Cache-Control": "no-store"}
RETRY_AFTER = "5"  # seconds; the keys are asked for again after as many


def no_credentials() -> HTTPException:
    """401 without an error code: nothing was presented that could be wrong."""
    return _refusal(HTTP_401_UNAUTHORIZED, "This needs an access token.")


def several_credentials() -> HTTPException:
    """400: more than one Authorization header, or more than one way to send a token."""
    return _refusal(HTTP_400_BAD_REQUEST, "Send exactly one access token.", error="invalid_request")


def invalid_token(*, expired: bool) -> HTTPException:
    """401: the token proves nothing."""
    detail = "The access token expired." if expired else "The access token is invalid."
    return _refusal(HTTP_401_UNAUTHORIZED, detail, error="invalid_token")


def insufficient_scope(scope: str) -> HTTPException:
    """403: the user is known but not granted `scope` (space separated)."""
    detail = f"The access token lacks a scope: {scope}."
    return _refusal(HTTP_403_FORBIDDEN, detail, error="insufficient_scope", scope=scope)


def forbidden() -> HTTPException:
    """403: the token is valid but lacks a claim of the user model."""
    detail = "The access token lacks a claim that this service needs."
    return _refusal(HTTP_403_FORBIDDEN, detail, error="insufficient_scope")


def keys_unavailable() -> HTTPException:
    """503: there is no key to verify with."""
    return HTTPException(
        HTTP_503_SERVICE_UNAVAILABLE,
        "Access tokens cannot be verified at the moment.",
        {"Retry-After": RETRY_AFTER, **NO_STORE},
    )


def for_connection(
    connection: HTTPConnection, refusal: HTTPException
) -> HTTPException | WebSocketException:
    """Return the refusal, for a WebSocket as the close code that takes its place."""
    if connection.scope["type"] != "websocket":
        return refusal
    later = refusal.status_code == HTTP_503_SERVICE_UNAVAILABLE
    return WebSocketException(
        WS_1013_TRY_AGAIN_LATER if later else WS_1008_POLICY_VIOLATION, refusal.detail
    )


def _refusal(status: int, detail: str, **parameters: str) -> HTTPException:
    described = {**parameters, "error_description": detail} if "error" in parameters else {}
    challenge = ", ".join(
        f'{name}="{value}"' for name, value in {"realm": "api", **described}.items()
    )
    return HTTPException(status, detail, {"WWW-Authenticate": f"Bearer {challenge}", **NO_STORE})
