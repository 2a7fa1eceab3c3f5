"""Nothing that an exception or a request says appears in an alert, unless the owner asks for it."""

import json
from collections.abc import Callable
from time import process_time
from typing import Any

import asyncpg
import pytest
from fastapi import Request
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError

from dalkit.slack.report import describe, mask, own_code

from .apps import ORIGIN, alerting_app, calling, notifier_for
from .fake_slack import FakeSlack

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl"
SCOPE = {"type": "http", "method": "GET"}


def database_error(said: Callable[[str], str]) -> DBAPIError:
    """What SQLAlchemy and asyncpg raise: SQL, parameters, the row, the constraint."""
    raw = asyncpg.UniqueViolationError(said("message"))
    raw.constraint_name, raw.table_name, raw.detail = said("constraint"), said("t"), said("detail")
    orig: Any = Exception(said("adapter"))
    orig.sqlstate, orig.__cause__ = "23505", raw
    error = DBAPIError(said("INSERT"), {said("name"): said("value")}, orig)
    error.__cause__ = orig
    return error


def errors_of(said: Callable[[str], str]) -> list[Exception]:
    """Errors with text in every place that an exception has for it."""
    noted = ValueError(said("argument"), {said("key"): [said("item")]})
    noted.add_note(said("note"))
    caused = KeyError(said("key"))
    caused.__cause__ = OSError(2, said("strerror"), said("filename"))
    caused.__cause__.__context__ = UnicodeDecodeError("utf-8", said("b").encode(), 0, 1, said("r"))
    group = ExceptionGroup(said("group"), [LookupError(said("one")), database_error(said)])
    return [noted, caused, group, database_error(said)]


@settings(max_examples=30, deadline=None)
@given(st.text(alphabet="qzxj7_é<&`\n", min_size=3, max_size=30), st.integers(0, 3))
def test_no_text_of_an_exception_or_a_request_is_in_an_alert(salt: str, which: int) -> None:
    """Whatever the text is: it is recognised by a mark that nothing else in an alert has."""

    def said(what: str) -> str:
        return f"{what}QZ{salt}ZQ"

    scope: Any = {
        **SCOPE,
        "path": said("/path"),
        "raw_path": said("/path").encode(),
        "query_string": said("query").encode(),
        "headers": [(said("name").encode(), said("value").encode()), (b"cookie", b"QZ=QZ")],
        "path_params": {"id": said("parameter")},
        "state": {"body": said("body")},
    }
    for error in errors_of(said):
        try:
            raise error
        except type(error) as raised:
            report = describe(raised, scope, 500, ORIGIN, own_code(None), False)
        text = json.dumps(report.payload([]), ensure_ascii=False)
        assert "QZ" not in text
        assert type(error).__name__ in text


async def test_a_request_leaves_nothing_in_an_alert(fake_slack: FakeSlack) -> None:
    notifier = notifier_for(fake_slack.url)
    app = alerting_app(notifier)

    @app.post("/cards/{number}")
    async def fail(request: Request) -> None:
        body = await request.body()
        quoted = (dict(request.headers), request.cookies, str(request.url), body, body.decode())
        raise ValueError(f"cannot handle {quoted}") from KeyError(body)

    async with notifier, calling(app) as client:
        await client.post(
            "/cards/path-value-0?coupon=query-value-1",
            headers={"X-Internal": "header-value-2", "Cookie": "theme=cookie-value-4"},
            json={"number": "body-value-6"},
        )
    [text] = fake_slack.texts
    assert "POST /cards/{number}" in text
    assert "KeyError" in text
    assert "-value-" not in text


async def test_database_errors_are_a_type_and_a_sqlstate(fake_slack: FakeSlack) -> None:
    async with notifier_for(fake_slack.url) as notifier:
        notifier.report(SCOPE, database_error("secret-{}".format))
    [text] = fake_slack.texts
    assert "secret" not in text
    assert all(word in text for word in ("DBAPIError", "UniqueViolationError", "23505"))


async def test_locals_and_notes_are_never_shown(fake_slack: FakeSlack) -> None:
    def fail() -> None:
        local = ["secret-" + str(len("local"))]
        error = ValueError(f"{len(local)} item")
        error.add_note(local[0])
        raise error

    async with notifier_for(fake_slack.url, exception_text=True) as notifier:
        try:
            fail()
        except ValueError as exc:
            notifier.report(SCOPE, exc)
    [text] = fake_slack.texts
    assert "in fail" in text
    assert "1 item" in text
    assert "secret-5" not in text


@pytest.mark.parametrize("asked_for", [True, False])
async def test_the_text_is_shown_to_owners_who_ask_for_it(
    fake_slack: FakeSlack, asked_for: bool
) -> None:
    async with notifier_for(fake_slack.url, exception_text=asked_for) as notifier:
        members = [KeyError("the member"), OSError("another")]
        group = ExceptionGroup("the group", members)
        group.__cause__ = ValueError("the cause password=hunter2")
        notifier.report(SCOPE, group)
    [text] = fake_slack.texts
    assert all((word in text) is asked_for for word in ("the member", "the group", "the cause"))
    assert "hunter2" not in text


async def test_the_text_is_cut_before_it_is_looked_at(
    fake_slack: FakeSlack, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[int] = []

    def spying(text: str) -> str:
        looked_at.append(len(text))
        return text

    monkeypatch.setattr("dalkit.slack.report.mask", spying)
    async with notifier_for(fake_slack.url, exception_text=True) as notifier:
        notifier.report(SCOPE, ValueError("x" * 10_000_000))
    assert max(looked_at) == 500
    assert len(fake_slack.texts[0]) < 2000


async def test_a_header_of_10_mb_is_not_looked_at(fake_slack: FakeSlack) -> None:
    """Without a token, on a route that quotes it: it takes the loop no longer than a small one."""
    authentication = NoAuthentication()
    notifier = notifier_for(fake_slack.url, authentication=authentication, exception_text=True)
    app = alerting_app(notifier)
    seconds: list[float] = []
    report = notifier.report

    def timed(*args: Any, **kwargs: Any) -> None:
        started = process_time()
        report(*args, **kwargs)
        seconds.append(process_time() - started)

    notifier.report = timed  # type: ignore[method-assign]

    @app.get("/")
    async def fail(request: Request) -> None:
        raise ValueError("cannot handle " + request.headers["authorization"])

    async with notifier, calling(app) as client:
        for size in (600, 600, 10_000_000):
            for seen in notifier._seen.values():
                assert seen.timer is not None
                seen.timer.cancel()
            notifier._seen.clear()
            await client.get("/", headers={"Authorization": "Bearer " + "ab:c@ " * (size // 6)})
            await fake_slack.received(len(seconds))
    assert [len(token) for token in authentication.asked] == [599, 599]  # stripped, and never more
    assert max(map(len, fake_slack.texts)) < 5000
    assert seconds[2] < 10 * seconds[1]


class NoAuthentication:
    """Notes what it is asked to verify, and refuses it."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def verify(self, token: str) -> Any:
        self.asked.append(token)
        raise ValueError("not a token")


SECRETS = {
    "password": 'connecting with password="hunter2-secret"',
    "password in a dict": "config: {'db_password': 'hunter2-secret', 'host': 'db'}",
    "header": "Authorization: Basic aHVudGVyMi1zZWNyZXQ=\nAccept: *",
    "header tuple": "[(b'cookie', b'session=hunter2-secret')]",
    "cookie": "Set-Cookie: session=hunter2-secret; Path=/",
    "database URL": "cannot connect to postgresql+asyncpg://app:hunter2-secret@db.example/books",
    "half a URL": "cannot connect to postgresql+asyncpg://app:hunter2-sec",
    "DSN": "host=db user=app password=hunter2-secret dbname=books",
    "query": "Client error '403' for url 'https://api.example/v1?user=ada&token=hunter2-secret'",
    "webhook": "posting to https://hooks.slack.com/services/T0/B0/hunter2-secret failed",
    "JWT": f"token is {JWT}",
    "bearer": "sent Bearer hunter2-secret",
    "vendor key": "using sk-live-hunter2secret and xoxb-hunter2-secret, ghp_hunter2secret12345678",
    "PEM": "-----BEGIN PRIVATE KEY-----\nhunter2-secret\n-----END PRIVATE KEY-----",
    "half a PEM": "-----BEGIN PRIVATE KEY-----\nhunter2-secret",
}


@pytest.mark.parametrize("kind", SECRETS)
def test_what_looks_like_a_secret_is_masked_even_then(kind: str) -> None:
    masked = mask(SECRETS[kind])
    assert "[redacted]" in masked
    assert not any(secret in masked for secret in ("hunter2", "aHVudGVy", JWT))


@pytest.mark.parametrize(
    "text",
    [
        "hello from testing!",
        "No table 'bok'. Did you mean 'book'? Reflected schemas: public.",
        "list index out of range",
        "book 0190b3a2-7c1d-7e3f-8a9b-0c1d2e3f4a5b is gone",
        "cannot reach http://127.0.0.1:8000 nor https://db.example:5432/x",
        "the token has expired",
        'token = sign(user) + request.headers["Authorization"]',
    ],
)
def test_what_helps_is_kept(text: str) -> None:
    assert mask(text) == text


def test_a_secret_in_a_line_of_code_is_masked() -> None:
    line = 'token = sign(user, password="hunter2") + request.headers["Authorization"]'
    assert mask(line) == line.replace('"hunter2"', "[redacted]")


PIECES = ["\n", "_", "a-", "a=", "password=", "a://", "x@", ":", "eyJ.", "'", "(", "1a", "token"]


@pytest.mark.parametrize("first", PIECES)
def test_masking_500_characters_takes_milliseconds_whatever_they_are(first: str) -> None:
    started = process_time()
    for second in PIECES:
        mask(((first + second) * 500)[:500])
        mask((first * 500)[:250] + (second * 500)[:250])
    assert process_time() - started < 0.02 * 2 * len(PIECES)


async def test_the_webhook_is_not_logged(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    async with notifier_for("http://127.0.0.1:9/services/T0/B0/webhooksecret") as notifier:
        notifier.report(SCOPE, ValueError("broken"))
    assert "webhooksecret" not in caplog.text
    assert "webhooksecret" not in "".join(capsys.readouterr())
