"""What a request brought with it, so that nothing of it is repeated in an alert."""

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl

from starlette.types import Scope

BODY_LIMIT = 16_384
_SHORTEST_VALUE = 4
_SHORTEST_PIECE = 8
_MOST_VALUES = 500

# Headers that say how, not who or what: an exception may name them.
_HARMLESS_HEADERS = frozenset(
    b"host accept accept-charset accept-encoding accept-language connection content-length "
    b"content-type user-agent x-request-id traceparent transfer-encoding".split()
)


def known_values(scope: Scope, body: bytes) -> re.Pattern[str] | None:
    """Return a pattern that matches every value this request brought: headers, query and body.

    An exception often quotes the input it choked on; no pattern can tell that from prose, but the
    request is at hand to compare with. Values under 4 characters are left out.
    """
    values = {*_header_values(scope), *_query_values(scope), *_body_values(body)}
    spellings = {spelling for value in values for spelling in _spellings(value)}
    longest_first = sorted(spellings, key=len, reverse=True)[:_MOST_VALUES]
    return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None


def _spellings(value: str) -> Iterator[str]:
    """Yield `value` as it is, as repr() and as JSON write it."""
    for spelling in (value, repr(value)[1:-1], json.dumps(value)[1:-1]):
        if len(spelling) >= _SHORTEST_VALUE:
            yield spelling


def _pieces(text: str) -> Iterator[str]:
    yield text
    yield from (part for part in re.split(r"[\s;,=&\"']+", text) if len(part) >= _SHORTEST_PIECE)


def _header_values(scope: Scope) -> Iterator[str]:
    for name, value in scope.get("headers", ()):
        if name.lower() not in _HARMLESS_HEADERS:
            yield from _pieces(value.decode("latin-1"))


def _query_values(scope: Scope) -> Iterator[str]:
    query = scope.get("query_string", b"").decode("latin-1")
    yield query
    for name, value in parse_qsl(query, keep_blank_values=True):
        yield value or name
    yield from (pair.partition("=")[2] for pair in query.split("&"))


def _body_values(body: bytes) -> Iterator[str]:
    if not body:
        return
    yield repr(body)[2:-1]
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return
    try:
        yield from _leaves(json.loads(text))
    except (ValueError, RecursionError):
        yield from _pieces(text)
        yield from (value for _, value in parse_qsl(text))


def _leaves(document: Any) -> Iterator[str]:
    """Yield the strings and numbers of a JSON document."""
    todo = [document]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            todo.extend(item.values())
        elif isinstance(item, list):
            todo.extend(item)
        elif isinstance(item, str | int | float) and not isinstance(item, bool):
            yield str(item)
