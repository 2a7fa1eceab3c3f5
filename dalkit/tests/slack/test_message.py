"""What Slack gets is within its limits and nothing but text, whatever the exception says."""

import json
import re
import sys
from collections.abc import Callable
from time import process_time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dalkit.slack.report import Report, describe, fence, fit, own_code

from .apps import ORIGIN


def raised(error: Exception) -> Exception:
    try:
        raise error
    except type(error) as exc:
        return exc


OWN = own_code(None)
NOTES = [f"Seen {10**9} more times meanwhile.", f"{10**9} other alerts were dropped."]


def report_of(error: BaseException, *, text: bool = True, **state: str) -> Report:
    scope: Any = {"type": "http", "method": "GET", "headers": [], "state": state}
    return describe(error, scope, 500, ORIGIN, OWN, text)


def section(report: Report, word: str) -> str:
    """The text of the first section that holds `word`."""
    return next(text for _, text, _ in report.sections if word in text)


def texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [value["text"]] if isinstance(value.get("text"), str) else texts([*value.values()])
    return [text for item in value for text in texts(item)] if isinstance(value, list) else []


def assert_slack_takes(payload: dict[str, Any]) -> None:
    """The limits of Slack's Block Kit reference."""
    blocks = payload["blocks"]
    assert len(blocks) <= 50
    assert sum(map(len, texts(blocks))) <= 10_000
    for block in blocks:
        longest = {"header": 150, "context": 3000}.get(block["type"], 3000)
        assert all(0 < len(text) <= longest for text in texts(block))
        assert all(len(field["text"]) <= 2000 for field in block.get("fields", ()))
        assert len(block.get("fields", ())) <= 10
    json.dumps(payload).encode()
    json.dumps(payload, ensure_ascii=False).encode()


def recursion() -> Exception:
    def dive(level: int) -> None:
        if not level:
            raise ValueError("at the bottom")
        dive(level - 1)

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit + 2000)
    try:
        dive(2000)
    except ValueError as exc:
        error = exc
    finally:
        sys.setrecursionlimit(limit)
    return error


class Loud(Exception):
    def __init__(self) -> None:
        super().__init__("&" * 1_000_000)


def deep_group() -> Exception:
    group: Exception = ValueError("the innermost")
    for n in range(500):
        group = ExceptionGroup(f"level {n}", [group, KeyError(n)])
    return group


def long_chain() -> Exception:
    error: Exception = ValueError("x" * 5000)
    for n in range(50):
        following = KeyError(f"{n} " + "y" * 5000)
        following.__cause__ = error
        error = following
    return error


HOSTILE: dict[str, Callable[[], Exception]] = {
    "empty": lambda: ValueError(""),
    "entities, 1 MB": Loud,
    "words, 1 MB": lambda: ValueError("a word " * 150_000),
    "one word, 1 MB": lambda: ValueError("x1" * 500_000),
    "URL characters, 1 MB": lambda: ValueError("a.b+c-" * 170_000),
    "markup": lambda: ValueError("<>&" * 1000),
    "invalid Unicode": lambda: ValueError("\x00\x1b[31m\ud800\udfff\u202e\u2028\r"),
    "emoji": lambda: ValueError("\U0001f4a5" * 5000),
    "recursion": recursion,
    "deep group": deep_group,
    "wide group": lambda: ExceptionGroup("m" * 5000, [ValueError("n" * 5000)] * 300),
    "long chain": long_chain,
    "long name": lambda: type("E" * 5000, (Exception,), {})("a long name"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_every_exception_fits(name: str) -> None:
    error = HOSTILE[name]()
    started = process_time()
    report = report_of(raised(error), user_sub="u" * 5000, request_id="i" * 64, route="/r" * 3000)
    assert_slack_takes(report.payload(NOTES))
    assert_slack_takes(report.payload(NOTES, again=True))
    assert process_time() - started < 0.5


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=4000), st.integers(20, 3000))
def test_a_text_never_gets_longer_than_its_limit(text: str, limit: int) -> None:
    fitted = fit(text, limit)
    assert len(fitted) <= limit
    assert re.search(r"[<>]|&(?!amp;|lt;|gt;)", fitted) is None
    assert re.search("[\x00-\x08\u202e\ud800-\udfff]", fitted) is None


@pytest.mark.parametrize("limit", range(20, 26))
def test_no_half_of_an_entity_is_left(limit: int) -> None:
    assert re.fullmatch("(&amp;)+…", fit("&" * 100, limit))


@settings(max_examples=50, deadline=None)
@given(st.text(alphabet="`ab\n", max_size=300), st.integers(20, 400))
def test_nothing_breaks_out_of_a_code_block(text: str, limit: int) -> None:
    fenced = fence(text, limit)
    assert len(fenced) <= limit
    assert fenced.count("`") == 6
    assert fenced.startswith("```\n")
    assert fenced.endswith("\n```")


@pytest.mark.parametrize(
    "attack",
    [
        "<!channel>",
        "<!subteam^S1|all>",
        "<@U123>",
        "<#C123>",
        "<https://evil.example|click>",
        "<mailto:a@b.example|mail>",
        "@channel",
        "@HERE",
        "https://evil.example/",
    ],
)
def test_no_mention_and_no_link_can_be_injected(attack: str) -> None:
    error = raised(type(attack, (Exception,), {})(f"``` {attack} ```"))
    everything = texts(report_of(error, user_sub=attack, route=attack).payload([])["blocks"])
    for text in everything:
        assert attack not in text
        assert re.search(r"<[!@#]|<\w+:|@(channel|here)|\w://", text, re.IGNORECASE) is None


def test_nothing_is_looked_up_or_unfurled() -> None:
    """`verbatim` keeps Slack from linking names and URLs that it finds in a text."""
    payload = report_of(ValueError("x")).payload(NOTES)
    written = json.dumps(payload)
    assert written.count('"mrkdwn"') == written.count('"verbatim": true')
    assert (payload["unfurl_links"], payload["unfurl_media"]) == (False, False)


def test_a_recursion_is_trimmed_to_its_ends() -> None:
    traceback = section(report_of(recursion()), "in dive")
    assert re.search(r"… 19\d\d more …", traceback)
    assert traceback.count("in dive") < 20
    assert traceback.endswith('raise ValueError("at the bottom")')


def test_causes_are_named() -> None:
    def fail() -> None:
        try:
            raise KeyError("the cause")
        except KeyError as exc:
            raise ValueError("the consequence") from exc

    with pytest.raises(ValueError, match="consequence") as caught:
        fail()
    report = report_of(caught.value)
    assert "ValueError" in report.title
    assert "in fail" in report.facts["Place"]
    assert section(report, "KeyError: 'the cause' (").endswith("in fail)")
    assert section(report_of(caught.value, text=False), "KeyError (").endswith("in fail)")


def test_an_error_that_came_too_late_for_its_handler_is_told_as_itself() -> None:
    """Starlette wraps it into a RuntimeError that says nothing."""
    late = RuntimeError("Caught handled exception, but response already started.")
    late.__cause__ = KeyError("the error")
    assert report_of(late).title == "testing: KeyError in books"
