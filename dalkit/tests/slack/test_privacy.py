"""Nothing that a request brought, and nothing that looks like a secret, appears in an alert."""

import json
from collections.abc import Callable
from time import process_time
from typing import Any
from urllib.parse import urlencode

import asyncpg
import pytest
from fastapi import FastAPI, Request
from pydantic import BaseModel
from sqlalchemy.exc import DBAPIError

from dalkit.slack.known_values import known_values
from dalkit.slack.redaction import redact, redact_source

from .apps import alerting_app, calling, notifier_for
from .fake_slack import FakeSlack

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl"


class Card(BaseModel):
    number: str
    owner: str


def quoting(app: FastAPI) -> None:
    """A handler that repeats all of its input in the exception."""

    @app.post("/cards")
    async def fail(request: Request) -> None:
        body = await request.body()
        quoted = (dict(request.headers), request.cookies, str(request.url), body, body.decode())
        raise ValueError(f"cannot handle {quoted}") from KeyError(body)


async def test_values_of_the_request_are_not_repeated(fake_slack: FakeSlack) -> None:
    notifier = notifier_for(fake_slack.url)
    app = alerting_app(notifier)
    quoting(app)
    async with notifier, calling(app) as client:
        await client.post(
            "/cards?coupon=query-value-1&empty",
            headers={
                "X-Internal": "header-value-2",
                "Authorization": "Bearer header-token-3",
                "Cookie": "theme=cookie-value-4; other=cookie-value-5",
            },
            json={
                "number": "body value 6",
                "deep": [{"owner": 'body "value" 7 \u00e4'}],
                "n": 4929,
            },
        )
    [text] = fake_slack.texts
    assert "ValueError" in text
    for part in ("value-", "token-3", "body value", "4929", "coupon=q", "7 \\"):
        assert part not in text, part


@pytest.mark.parametrize(
    "body", [b"", b"plain-body-value", b"\x00\xff\xfebinary-value", b"a=form-value&b=other-value"]
)
async def test_any_kind_of_body_stays_private(fake_slack: FakeSlack, body: bytes) -> None:
    notifier = notifier_for(fake_slack.url)
    app = alerting_app(notifier)

    @app.post("/")
    async def fail(request: Request) -> None:
        raise ValueError(f"cannot read {await request.body()!r}")

    async with notifier, calling(app) as client:
        assert (await client.post("/", content=body)).status_code == 500
    [text] = fake_slack.texts
    assert "value" not in text.replace("ValueError", "").replace("cannot read", "")


async def test_an_error_while_the_body_is_read_is_reported(fake_slack: FakeSlack) -> None:
    notifier = notifier_for(fake_slack.url)
    app = alerting_app(notifier)

    @app.post("/")
    async def fail(request: Request) -> None:
        async for chunk in request.stream():
            raise ValueError(f"at {chunk!r}")

    async with notifier, calling(app) as client:
        await client.post("/", content=b"first-chunk-value")
    [text] = fake_slack.texts
    assert "ValueError" in text
    assert "chunk-value" not in text


SECRETS = {
    "password": 'connecting with password="hunter2-secret"',
    "password in a dict": "config: {'db_password': 'hunter2-secret', 'host': 'db'}",
    "header": "Authorization: Basic aHVudGVyMi1zZWNyZXQ=\nAccept: hunter1",
    "header tuple": "[(b'cookie', b'session=hunter2-secret')]",
    "cookie": "Set-Cookie: session=hunter2-secret; Path=/",
    "database URL": "cannot connect to postgresql+asyncpg://app:hunter2-secret@db.example/books",
    "DSN": "host=db user=app password=hunter2-secret dbname=books",
    "credentials": "app:hunter2-secret@db.example refused",
    "query": "Client error '403' for url 'https://api.example/v1?user=ada&code=hunter2-secret'",
    "webhook": "posting to https://hooks.slack.com/services/T0/B0/hunter2-secret failed",
    "JWT": f"token is {JWT} and hunter1",
    "bearer": "sent Bearer hunter2-secret",
    "vendor key": "using sk-live-hunter2secret and xoxb-hunter2-secret, ghp_hunter2secret12345678",
    "hex": "hunter2secret0123456789abcdef0123456789abcdef",
    "PEM": "-----BEGIN PRIVATE KEY-----\nhunter2-secret\n-----END PRIVATE KEY-----",
    "half a PEM": "-----BEGIN PRIVATE KEY-----\nhunter2-secret",
    "SQL": "(DBAPIError) boom\n[SQL: SELECT 'hunter2-secret']\n[parameters: ('hunter2-secret',)]",
    "DETAIL": "duplicate key\nDETAIL:  Key (email)=(hunter2-secret) already exists.",
    "validation": "1 error\n  wrong [type=int, input_value='hunter2-secret', input_type=str]",
    "email": "no account for hunter2.secret@mail.example",
}


@pytest.mark.parametrize("kind", SECRETS)
def test_what_looks_like_a_secret_is_removed(kind: str) -> None:
    redacted = redact(SECRETS[kind])
    assert "hunter2" not in redacted
    assert JWT not in redacted
    assert redact(redacted).count("hunter2") == 0


@pytest.mark.parametrize("write", [str, repr, json.dumps], ids=["str", "repr", "JSON"])
@pytest.mark.parametrize("place", ["query", "header", "body", "form"])
def test_a_value_is_recognised_however_it_is_written(
    place: str, write: Callable[[str], str]
) -> None:
    value = 'O\'Brien "the" \u00e4'
    scope: Any = {"query_string": b"", "headers": []}
    body = b""
    if place == "query":
        scope["query_string"] = urlencode({"name": value}).encode()
    elif place == "header":
        scope["headers"] = [(b"x-name", value.encode("latin-1"))]
    elif place == "body":
        body = json.dumps({"names": [value]}).encode()
    else:
        body = urlencode({"name": value}).encode()
    text = redact(f"nobody is called {write(value)}", known_values(scope, body))
    assert "Brien" not in text
    assert text.startswith("nobody is called ")


PIECES = ["\n", "_", "a-", "a=", "password=", "a://", "x@", ":", "eyJ.", "[SQL:", "'", "(", "1a"]


@pytest.mark.parametrize("first", PIECES)
def test_redaction_takes_milliseconds_whatever_the_text_is(first: str) -> None:
    started = process_time()
    for second in PIECES:
        redact((first + second) * 10_000)
        redact(first * 10_000 + second * 10_000)
    assert process_time() - started < 0.1 * 2 * len(PIECES)


@pytest.mark.parametrize(
    "text",
    [
        "hello from testing!",
        "No table 'bok'. Did you mean 'book'? Reflected schemas: public.",
        "list index out of range",
        "book 0190b3a2-7c1d-7e3f-8a9b-0c1d2e3f4a5b is gone",
        "invalid literal for int() with base 10: '12a'",
        "cannot handle a_function_name_that_is_really_very_long_indeed",
        "the token has expired",
    ],
)
def test_what_helps_is_kept(text: str) -> None:
    assert redact(text) == text


def test_the_host_of_a_failing_call_is_kept() -> None:
    text = redact("for url 'https://ada:pw@api.example:8443/v1/users?x=1'")
    assert text == "for url 'https://api.example:8443/…'"


def test_source_lines_keep_their_code_but_not_their_secrets() -> None:
    line = 'token = sign(user, password="hunter2") + request.headers["Authorization"]'
    assert redact_source(line) == line.replace('"hunter2"', "[redacted]")


async def test_database_errors_say_what_and_where_but_not_with_what(fake_slack: FakeSlack) -> None:
    """SQLAlchemy's text has the SQL and its parameters, PostgreSQL's the row."""
    raw = asyncpg.UniqueViolationError("duplicate key value: secret-row")
    raw.constraint_name, raw.table_name, raw.detail = "book_catalog_key", "book", "secret-detail"
    orig: Any = Exception("secret-row")
    orig.sqlstate = "23505"
    orig.__cause__ = raw
    error = DBAPIError("INSERT INTO book VALUES ('secret-sql')", {"a": "secret-parameter"}, orig)
    error.__cause__ = raw
    async with notifier_for(fake_slack.url) as notifier:
        notifier.report({"type": "http", "method": "GET"}, error)
    [text] = fake_slack.texts
    assert "secret" not in text
    for fact in (
        "DBAPIError",
        "UniqueViolationError",
        "23505",
        "book_catalog_key",
        "table_name book",
    ):
        assert fact in text


async def test_validation_errors_name_the_field_only(fake_slack: FakeSlack) -> None:
    notifier = notifier_for(fake_slack.url)
    app = alerting_app(notifier)

    @app.get("/", response_model=Card)
    async def fail() -> Any:
        return {"number": ["secret-number"], "owner": "secret-owner"}

    async with notifier, calling(app) as client:
        await client.get("/")
    [text] = fake_slack.texts
    assert "secret" not in text
    assert "response.number: string_type" in text


async def test_locals_and_notes_are_not_shown(fake_slack: FakeSlack) -> None:
    def fail() -> None:
        local = ["secret-local"]
        error = ValueError(f"{len(local)} item")
        error.add_note(local[0])
        raise error

    async with notifier_for(fake_slack.url) as notifier:
        try:
            fail()
        except ValueError as exc:
            notifier.report({"type": "http", "method": "GET"}, exc)
    [text] = fake_slack.texts
    assert "in fail" in text
    assert "secret" not in text


BODY = {
    "title": "Emma",
    "password": "secret-1",
    "card": {"number": "secret-2"},
    "list": [{"api_key": "secret-3", "n": 1}],
    "note": "call postgresql://u:secret-4@db/x",
}


@pytest.mark.parametrize("opted_in", [True, False])
async def test_the_body_is_shown_redacted_to_owners_who_opt_in(
    fake_slack: FakeSlack, opted_in: bool
) -> None:
    notifier = notifier_for(fake_slack.url, include_body=opted_in)
    app = alerting_app(notifier)

    @app.post("/")
    async def fail(request: Request) -> None:
        await request.body()
        raise ValueError("broken")

    async with notifier, calling(app) as client:
        await client.post("/", json=BODY)
    [text] = fake_slack.texts
    assert ("Emma" in text) is opted_in
    assert "secret-" not in text


@pytest.mark.parametrize(
    ("content", "content_type", "shown"),
    [
        (b"name=Emma&token=secret-1", "application/x-www-form-urlencoded", "Emma"),
        (b"\x89PNG secret-1", "image/png", "13 bytes of image/png, not shown"),
        (b"secret-1 in plain", "text/plain", "17 bytes of text/plain, not shown"),
        (b'{"a": "secret-1', "application/json", "15 bytes of application/json, not shown"),
        (b"[" * 9000, "application/json", "9000 bytes of application/json, not shown"),
        (b'"' + b"secret-1" * 5000 + b'"', "application/json", "or more, not shown"),
        (b"", "application/json", "none, or not read"),
    ],
    ids=["form", "binary", "text", "half", "deep", "long", "empty"],
)
async def test_a_body_of_another_kind_is_described(
    fake_slack: FakeSlack, content: bytes, content_type: str, shown: str
) -> None:
    notifier = notifier_for(fake_slack.url, include_body=True)
    app = alerting_app(notifier)

    @app.post("/")
    async def fail(request: Request) -> None:
        await request.body()
        raise ValueError("broken")

    async with notifier, calling(app) as client:
        await client.post("/", content=content, headers={"Content-Type": content_type})
    [text] = fake_slack.texts
    assert shown in text
    assert "secret" not in text


async def test_the_webhook_is_not_logged(
    fake_slack: FakeSlack, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    async with notifier_for("http://127.0.0.1:9/services/T0/B0/webhooksecret") as notifier:
        notifier.report({"type": "http", "method": "GET"}, ValueError("broken"))
    assert "webhooksecret" not in caplog.text
    assert "webhooksecret" not in "".join(capsys.readouterr())
