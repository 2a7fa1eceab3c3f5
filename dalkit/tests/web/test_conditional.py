"""Entity tags in headers."""

import pytest

from dalkit.web.conditional import names


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
    ],
)
def test_if_none_match_compares_weakly(header: str, found: bool) -> None:
    assert names(header, '"a"', strongly=False) is found


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ('"a"', True),
        ('"b", "a"', True),
        ("*", True),
        (',"a", ,', True),
        (",", False),
        ('W/"a"', False),
        ('"b"', False),
        ("a", False),
        ("", False),
    ],
)
def test_if_match_compares_strongly(header: str, found: bool) -> None:
    assert names(header, '"a"', strongly=True) is found


def test_a_comma_in_a_tag_does_not_end_it() -> None:
    assert names('"x", "a,b"', '"a,b"', strongly=False)
