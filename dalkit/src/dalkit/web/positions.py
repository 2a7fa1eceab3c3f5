"""Clients that read what they have written: the header, or cookie, X-Database-Position."""

from http.cookies import CookieError, SimpleCookie

from starlette.requests import cookie_parser
from starlette.types import Scope

from ..data.position import Position

HEADER = "X-Database-Position"
_HEADER = HEADER.lower().encode()


def position_of(scope: Scope, cookie: str | None) -> Position | None:
    """The position that a request brings, in the header or else in this cookie.

    What is no position, or there twice, is none.
    """
    given = [value for name, value in scope["headers"] if name == _HEADER]
    if len(given) == 1:
        return Position.parse(given[0].decode("latin-1"))
    if cookie is None or given:
        return None
    cookies = [value.decode("latin-1") for name, value in scope["headers"] if name == b"cookie"]
    return Position.parse(cookie_parser("; ".join(cookies)).get(cookie, ""))


def position_headers(position: Position, cookie: str | None) -> list[tuple[bytes, bytes]]:
    """What tells a client where its write is; the cookie is sent over HTTPS only, to no script."""
    headers = [(_HEADER, str(position).encode())]
    if cookie is not None:
        attributes = "Path=/; Secure; HttpOnly; SameSite=Lax"
        headers.append((b"set-cookie", f"{cookie}={position}; {attributes}".encode()))
    return headers


def check_cookie(name: str) -> None:
    """Raises ValueError for a name that no cookie can have (RFC 6265, section 4.1.1)."""
    try:
        SimpleCookie()[name] = ""
    except CookieError:
        raise ValueError(f"position_cookie is {name!r}: use letters, digits, - and _.") from None
