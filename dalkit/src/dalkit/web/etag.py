"""Entity tags in request headers (RFC 9110, section 8.8.3)."""

import re

#: One tag of a list: W/ marks a weak one, its text has no quotes, blanks or control characters.
#: Elements of the list may be empty (section 5.6.1).
_TAG = re.compile(r'[\t ,]*(W/)?("[\x21\x23-\x7e\x80-\xff]*")[\t ]*(?:,[\t ,]*|$)')


def matches(if_none_match: str | None, etag: str) -> bool:
    """Whether the header names `etag`, given with its quotes; `*` names every tag.

    Tags are compared weakly (section 13.1.2): W/"a" is "a". Nothing matches a malformed header.
    """
    return _names(if_none_match, etag, strongly=False)


def is_stale(if_match: str | None, etag: str) -> bool:
    """Whether the header is there and does not name `etag`; `*` names every tag.

    Tags are compared strongly (section 13.1.1): a weak tag names nothing.
    """
    return if_match is not None and not _names(if_match, etag, strongly=True)


def _names(header: str | None, etag: str, *, strongly: bool) -> bool:
    if header is None:
        return False
    if header.strip() == "*":
        return True
    position, found = 0, False
    while position < len(header):
        if (tag := _TAG.match(header, position)) is None:
            return False
        found |= tag[2] == etag and not (strongly and tag[1])
        position = tag.end()
    return found
