"""Links to other pages: the request's URL with some parameters replaced."""

from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit


def with_parameters(url: str, parameters: Mapping[str, str | int | None]) -> str:
    """The URL with these query parameters instead of its own of these names; None removes one."""
    parts = urlsplit(url)
    kept = [item for item in query_items(url) if item[0] not in parameters]
    added = [(name, str(value)) for name, value in parameters.items() if value is not None]
    return urlunsplit(parts._replace(query=urlencode(kept + added, errors="surrogateescape")))


def query_items(url: str) -> list[tuple[str, str]]:
    """Name and value of every query parameter, in order; what is not UTF-8 survives."""
    return parse_qsl(urlsplit(url).query, keep_blank_values=True, errors="surrogateescape")
