"""Conditional requests (RFC 9110, section 13): ETags and the headers that name them."""

from .etag import is_stale
from .problems import Problem


def quoted(etag: object) -> str:
    """The strong entity tag of this value, as it stands in a header."""
    return f'"{etag}"'


def names_any(if_match: str | None) -> bool:
    """Whether the change does not depend on a version: without the header, and with `*`."""
    return if_match is None or if_match.strip() == "*"


def check_if_match(if_match: str | None, etag: object, *, required: bool) -> None:
    """Raise Problem 428 when the header is missing and required, 412 when it names other tags."""
    if if_match is None:
        if required:
            raise Problem(428, "Send If-Match with the ETag of what you have seen, or `*`.")
    elif is_stale(if_match, quoted(etag)):
        raise Problem(412, "It was changed since the ETag in If-Match; read it again.")
