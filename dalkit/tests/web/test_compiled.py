"""A compiled route gives the answers of FastAPI's own handler, and gives way where it might not."""

import json
import random
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from fastapi import HTTPException
from fastapi.dependencies import utils
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from .compiled_app import CALLS, Chunks, Headers, application, ask

PATHS = (
    *("/renamed", "/short", "/own/stream"),
    *("/things/1", "/things/-7", "/things/x", "/things/" + "9" * 5000, "/things/%31", "/things/"),
    *("/things", "/open", "/plain", "/repeated", "/guarded", "/optional", "/anything", "/status"),
    *("/conditional/a b", "/conditional/\x00", "/conditional/é", "/untrue/1", "/untrue/one"),
    *(f"/own/{kind}" for kind in ("response", "http", "handled", "broken", "fine")),
    "/nothing",
    "/openapi.json",
)
QUERIES = (
    *(
        "",
        "limit=5",
        "limit=0",
        "limit=five",
        "limit=5&limit=6",
        "unknown=1",
        "title__icontains=a+b",
    ),
    *(
        "id__in=1&id__in=3",
        "id__in=1&id__in=2",
        "id__in=",
        "order_by=-id",
        "order_by=name",
        "ratio=nan",
    ),
    *(
        "who=Ada",
        "name=Ada",
        "who=a&more=1&more=2",
        "q=%00",
        "q=%ff",
        "many=1&many=2",
        "many=x",
        "&&=",
    ),
    *(
        "code=200",
        "code=201",
        "code=204",
        "code=304",
        "code=x",
        "limit=5&title__icontains=%F0%9F%92%A9",
    ),
)
HEADERS: tuple[Headers, ...] = (
    [],
    [(b"content-type", b"application/json")],
    [(b"content-type", b"application/json; charset=utf-8")],
    [(b"content-type", b"application/problem+json")],
    [(b"content-type", b"text/plain")],
    [(b"content-type", b"APPLICATION/JSON;charset=latin-1")],
    [(b"if-none-match", b'"same"'), (b"content-type", b"application/json")],
    [(b"x-forbidden", b"1"), (b"content-type", b"application/json")],
    [(b"twice", b"a"), (b"twice", b"b"), (b"user-agent", b"test")],
)
BODIES = (
    *(b"", b"{}", b"null", b"[]", b"7", b'"text"', b"{", b"NaN", b'{"name": NaN}', b"\xff"),
    *(
        b'{"name": "a"}',
        b'{"name": ""}',
        b'{"name": "a", "price": 1e400}',
        b'{"name": "a", "x": 1}',
    ),
    *(
        b'{"name": "\\ud800"}',
        b'{"name": "\\u0000", "tags": ["b", "b"]}',
        b'{"name": 1}',
        b"[" * 100_000,
    ),
    *(
        b'{"name": "a", "name": "b"}',
        b'\xef\xbb\xbf{"name": "a"}',
        json.dumps({"name": "x" * 9}).encode(),
    ),
)
METHODS = ("GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE")


def requests() -> Iterator[tuple[str, str, Headers, Chunks]]:
    """Every path with every query, every body with every header, and as many mixed at random."""
    for prefix, path, query in product(("", "/v1"), PATHS, QUERIES):
        yield "GET", f"{prefix}{path}?{query}", HEADERS[0], [b""]
    for path, headers, body in product(
        ("/things", "/v1/things", "/anything", "/optional"), HEADERS, BODIES
    ):
        yield "PUT" if path == "/optional" else "POST", path, headers, [body]
    for error in (HTTPException(413, "Too large."), RuntimeError("cut off")):
        yield "POST", "/things", HEADERS[1], [b'{"name": ', error]
    chosen = random.Random(7)
    for _ in range(1500):
        body = chosen.choice(BODIES)
        cut = chosen.randint(0, len(body))
        target = f"{chosen.choice(('', '/v1'))}{chosen.choice(PATHS)}?{chosen.choice(QUERIES)}"
        yield chosen.choice(METHODS), target, chosen.choice(HEADERS), [body[:cut], body[cut:]]


async def test_thousands_of_requests_get_the_same_answer_and_the_same_calls() -> None:
    ours, fastapis = application(compiled=True), application(compiled=False)
    asked, answered = 0, set()
    for request in requests():
        answer = await ask(ours, *request)
        expected = await ask(fastapis, *request)
        assert answer == expected, request
        asked += 1
        answered.add(expected[0])
    assert asked > 3000
    assert {200, 201, 304, 400, 403, 404, 405, 418, 422, 202} <= answered


VALID = (
    *(("GET", "/things/1"), ("GET", "/v1/things?id__in=1&id__in=3&limit=5"), ("GET", "/things")),
    *(("GET", "/plain?q=a&many=1&many=2"), ("POST", "/v1/things"), ("PUT", "/optional")),
    *(("GET", "/conditional/a"), ("GET", "/guarded"), ("GET", "/own/response")),
)


@pytest.fixture
def solved(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What FastAPI's own handler has looked at."""
    seen: list[object] = []
    solve = utils.solve_dependencies

    async def watched(**options: Any) -> Any:
        seen.append(options["dependant"].call)
        return await solve(**options)

    monkeypatch.setattr("fastapi.routing.solve_dependencies", watched)
    return seen


@pytest.mark.parametrize(("method", "target"), VALID)
async def test_a_valid_request_needs_no_look_at_the_dependencies(
    solved: list[object], method: str, target: str
) -> None:
    app = application(compiled=True)
    answer = await ask(app, method, target, HEADERS[1], [b'{"name": "a"}'])
    assert answer[0] in (200, 201, 202)
    assert solved == []


async def test_a_traced_request_is_fastapis_which_names_the_span(solved: list[object]) -> None:
    provider, exporter = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    app = application(compiled=True, telemetry={"tracer_provider": provider})
    answer = await ask(app, "GET", "/v1/things/1", HEADERS[0], [b""])
    assert answer[0] == 200
    assert solved
    assert "GET /v1/things/{thing_id}" in [span.name for span in exporter.get_finished_spans()]


async def test_the_body_limit_of_the_application_holds() -> None:
    chunks: Chunks = [b'{"name": "', b"x" * 1000, b'"}']
    ours, fastapis = [
        await ask(
            application(compiled=is_on, max_body_size=100), "POST", "/things", HEADERS[1], chunks
        )
        for is_on in (True, False)
    ]
    assert ours == fastapis
    assert ours[0] == 413


async def test_a_body_that_was_cut_off_is_not_taken_for_a_whole_one() -> None:
    whole: Chunks = [b'{"name": ', b'"a"}']
    for app in (application(compiled=True), application(compiled=False)):
        answer = await ask(app, "POST", "/v1/things", HEADERS[1], whole)
        assert (answer[0], len(CALLS) > 0) == (201, True)
        answer = await ask(app, "POST", "/v1/things", HEADERS[1], whole, is_cut=True)
        assert (answer[0], CALLS) == (400, [])


async def test_parameters_of_an_outer_path_stay() -> None:
    parameters: dict[str, Any] = {"path_params": {"tenant": "a"}}
    for app in (application(compiled=True), application(compiled=False)):
        await ask(app, "GET", "/v1/things/1", HEADERS[0], [b""], **parameters)
        assert CALLS[-1] == ({"tenant": "a", "thing_id": "1"}, "/v1/things/{thing_id}")
