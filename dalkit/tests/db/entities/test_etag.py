"""Entity tags in headers."""

import pytest

from dalkit.web.etag import is_stale, matches


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ('"a"', True),
        ('W/"a"', True),
        ('"b", "a"', True),
        ('"b" ,W/"a"', True),
        ('"a" ,', True),
        ('"a", ,\t', True),
        (', ,"b",, "a"', True),
        (" * ", True),
        ('"b"', False),
        ('"b,"', False),
        ("a", False),
        ('"a" "b"', False),
        ('w/"a"', False),
        ("", False),
        (" , ,", False),
        (None, False),
    ],
)
def test_if_none_match_compares_weakly(header: str | None, found: bool) -> None:
    assert matches(header, '"a"') is found


@pytest.mark.parametrize(
    ("header", "stale"),
    [
        ('"a"', False),
        ('"b", "a"', False),
        ("*", False),
        (None, False),
        (',"a", ,', False),
        (",", True),
        ('W/"a"', True),
        ('"b"', True),
        ("a", True),
        ("", True),
    ],
)
def test_if_match_compares_strongly(header: str | None, stale: bool) -> None:
    assert is_stale(header, '"a"') is stale


def test_a_comma_in_a_tag_does_not_end_it() -> None:
    assert matches('"x", "a,b"', '"a,b"')
