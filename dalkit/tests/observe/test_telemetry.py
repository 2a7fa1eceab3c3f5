"""Spans and metrics: there when they are asked for, and only then."""

import asyncio
import gc
import signal
import threading
import time
import weakref
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import sqlalchemy as sa
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from dalkit import DataAccessLayer
from dalkit.data.engine import create_engine
from dalkit.fast.wire import is_altered
from dalkit.observe import otel
from dalkit.observe.otel import observe
from dalkit.settings import Settings

from tests.server_process import ready, serving
from tests.service.app import create_app

Spans = InMemorySpanExporter
Patch = pytest.MonkeyPatch
ONE = sa.select(sa.literal(1).label("one"))


@pytest.fixture
def exporter() -> Spans:
    return InMemorySpanExporter()


@pytest.fixture
def tracer_provider(exporter: Spans) -> TracerProvider:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider


@pytest.fixture
async def traced(
    engine_uri: str, tracer_provider: TracerProvider
) -> AsyncIterator[DataAccessLayer]:
    """A data access layer of the test's own, its statements traced from its first connection on."""
    dal = DataAccessLayer()
    dal.fast_path = True
    engine = create_engine(engine_uri, pool_size=3)
    dal.use(engine)
    with observe(dal, tracer_provider=tracer_provider):
        yield dal
    await engine.dispose()


@pytest.fixture
async def inside(tracer_provider: TracerProvider) -> AsyncIterator[int]:
    """The id of a span that the test runs in; async, to be in the test's context."""
    with tracer_provider.get_tracer("test").start_as_current_span("request") as span:
        yield span.get_span_context().span_id


def named(exporter: Spans, name: str) -> list[ReadableSpan]:
    return [span for span in exporter.get_finished_spans() if span.name == name]


def texts(exporter: Spans) -> list[str]:
    return [str((s.attributes or {}).get("db.query.text")) for s in exporter.get_finished_spans()]


async def test_every_statement_is_a_span_of_the_request(
    traced: DataAccessLayer, exporter: Spans, inside: int
) -> None:
    async with traced.transaction(context={"app.user": "a private user"}) as transaction:
        await transaction.execute(sa.select(sa.literal("a private value")))
        raw = await transaction.get_dbapi_connection()
        await raw.fetchval("SELECT $1::text", "another private value")
    await asyncio.sleep(0)  # asyncpg tells its loggers in the next round of the loop
    selects = named(exporter, "SELECT")
    ours = [s for s in selects if "$1" in str((s.attributes or {}).get("db.query.text"))]
    assert len(ours) == 2
    for span in ours:
        assert span.parent is not None
        assert span.parent.span_id == inside
        assert (span.attributes or {})["db.system.name"] == "postgresql"
    assert len(named(exporter, "COMMIT")) == 1
    assert "BEGIN" in texts(exporter)
    assert not any("private" in text for text in texts(exporter))


async def test_a_stream_is_one_span(traced: DataAccessLayer, exporter: Spans, inside: int) -> None:
    numbers = sa.select(sa.func.generate_series(1, 1200).label("n"))
    async with traced.transaction() as transaction:
        assert len([row async for row in transaction.stream(numbers)]) == 1200
        assert transaction.made_connection is None
    await asyncio.sleep(0)
    (span,) = named(exporter, "SELECT")
    assert span.parent is not None
    assert span.parent.span_id == inside


async def test_statements_on_the_replica_are_spans_too(
    engine_uri: str, exporter: Spans, tracer_provider: TracerProvider, inside: int
) -> None:
    engines = create_engine(engine_uri), create_engine(engine_uri)
    dal = DataAccessLayer()
    dal.use(engines[0], replica=engines[1])
    with observe(dal, tracer_provider=tracer_provider):
        async with dal.transaction(readonly=True) as transaction:
            await transaction.execute(sa.select(sa.literal("x")))
    for engine in engines:
        await engine.dispose()
    assert any("$1" in text for text in texts(exporter))


async def test_one_engine_for_everything_is_traced_once(
    engine_uri: str, exporter: Spans, tracer_provider: TracerProvider, inside: int
) -> None:
    engine = create_engine(engine_uri)
    dal = DataAccessLayer()
    dal.use(engine, replica=engine)
    with observe(dal, tracer_provider=tracer_provider):
        async with dal.transaction() as transaction:
            await transaction.execute(ONE)
    await engine.dispose()
    assert len(named(exporter, "SELECT")) == 1


async def test_a_failing_statement_is_a_failed_span(
    traced: DataAccessLayer, exporter: Spans, inside: int
) -> None:
    async with traced.engine.connect() as conn:
        with pytest.raises(DBAPIError):
            await conn.execute(sa.text("SELECT 1 / 0"))
    [span] = [s for s in named(exporter, "SELECT") if s.status.status_code is StatusCode.ERROR]
    assert (span.attributes or {})["db.response.status_code"] == "22012"


async def test_traced_statements_stay_on_the_compiled_path(
    traced: DataAccessLayer, exporter: Spans, inside: int
) -> None:
    statement = sa.select(sa.literal("a private value").label("value"))
    failing = sa.select((sa.literal(1) / sa.literal(0)).label("number"))
    assert traced.compiled(statement, None)
    assert traced.compiled(failing, None)
    async with traced.transaction(with_commit=False) as transaction:
        assert await transaction.fetch_value(statement) == "a private value"
        with pytest.raises(DBAPIError):
            await transaction.fetch_value(failing)
    await asyncio.sleep(0)
    first, second = named(exporter, "SELECT")
    for span in first, second:
        assert span.parent is not None
        assert span.parent.span_id == inside
    assert first.status.status_code is StatusCode.UNSET
    assert (second.attributes or {})["db.response.status_code"] == "22012"
    assert not any("private" in text for text in texts(exporter))


@pytest.mark.parametrize(
    "name", ["before_cursor_execute", "after_cursor_execute", "before_execute", "handle_error"]
)
async def test_whoever_else_listens_to_a_traced_engine_takes_them_off_it(
    traced: DataAccessLayer, name: str
) -> None:
    statement = sa.select(sa.literal(1))
    heard: list[object] = []
    event.listen(traced.engine.sync_engine, name, lambda *given: heard.append(given))
    assert traced.compiled(statement, None) is None
    async with traced.transaction() as transaction:
        conn = await transaction.connection()
        assert is_altered(conn) is (name != "handle_error")


async def test_the_listeners_of_a_connection_take_its_statements_off_it(
    traced: DataAccessLayer,
) -> None:
    async with traced.transaction() as transaction:
        conn = await transaction.connection()
        assert not is_altered(conn)
        event.listen(conn.sync_connection, "before_cursor_execute", lambda *_: None)
        assert is_altered(conn)


async def test_the_connections_of_the_startup_are_traced_too(
    settings: Settings, exporter: Spans, tracer_provider: TracerProvider, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(otel, "get_tracer_provider", lambda: tracer_provider)
    app = create_app(settings.model_copy(update={"database_fast_path": True}))
    async with app.router.lifespan_context(app) as state:
        assert state is not None
        dal: DataAccessLayer = state["dal"]
        assert dal.is_reflected
        assert not exporter.get_finished_spans()  # the startup itself is no request
        with tracer_provider.get_tracer("test").start_as_current_span("request"):
            assert dal.compiled(ONE, None)
            async with dal.transaction() as transaction:
                assert await transaction.fetch_value(ONE) == 1
            await asyncio.sleep(0)
    assert len(named(exporter, "SELECT")) == 1


async def test_statements_on_connections_from_before_are_spans_too(
    engine_uri: str, exporter: Spans, tracer_provider: TracerProvider, inside: int
) -> None:
    dal = DataAccessLayer()
    dal.fast_path = True
    engine = create_engine(engine_uri)
    dal.use(engine)
    async with engine.connect():
        pass
    assert dal.compiled(ONE, None)
    with observe(dal, tracer_provider=tracer_provider):
        assert dal.compiled(ONE, None)
        async with dal.transaction(isolation="SERIALIZABLE") as transaction:
            assert await transaction.fetch_value(ONE) == 1
    async with dal.transaction() as transaction:
        assert await transaction.fetch_value(ONE) == 1
    event.listen(engine.sync_engine, "before_cursor_execute", lambda *_: None)
    assert dal.compiled(ONE, None) is None
    await engine.dispose()
    for name in ("BEGIN", "SELECT", "COMMIT"):
        assert len(named(exporter, name)) == 1


@pytest.mark.parametrize("fast", [True, False])
async def test_spans_are_where_their_statements_were(
    traced: DataAccessLayer, exporter: Spans, tracer_provider: TracerProvider, fast: bool
) -> None:
    """Not later, by what a handler does without giving way to the event loop."""
    traced.fast_path = fast
    async with traced.transaction() as transaction:
        await transaction.fetch_value(ONE)
    with tracer_provider.get_tracer("test").start_as_current_span("request"):
        async with traced.transaction(isolation="SERIALIZABLE") as transaction:
            await transaction.fetch_value(ONE)
            read = time.time_ns()
            time.sleep(0.05)  # noqa: ASYNC251
        committed = time.time_ns()
        time.sleep(0.05)  # noqa: ASYNC251
    await asyncio.sleep(0)
    begin, select, commit, request = exporter.get_finished_spans()
    assert [span.name for span in (begin, select, commit)] == ["BEGIN", "SELECT", "COMMIT"]
    ends = [begin.end_time, select.start_time, select.end_time, read, commit.start_time]
    assert None not in ends
    assert ends == sorted(ends, key=lambda end: end or 0)
    assert (commit.end_time or 0) < committed < (request.end_time or 0)


async def test_a_statement_that_cannot_be_prepared_is_a_failed_span(
    traced: DataAccessLayer, exporter: Spans, inside: int
) -> None:
    missing = sa.select(sa.table("nowhere", sa.column("id")).c.id)
    assert traced.compiled(missing, None)
    async with traced.transaction(with_commit=False) as transaction:
        with pytest.raises(DBAPIError):
            await transaction.fetch_all(missing)
    await asyncio.sleep(0)
    [span] = named(exporter, "SELECT")
    assert (span.attributes or {})["db.response.status_code"] == "42P01"


async def test_two_applications_trace_one_engine(
    traced: DataAccessLayer, exporter: Spans, tracer_provider: TracerProvider, inside: int
) -> None:
    with observe(traced, tracer_provider=tracer_provider):
        assert traced.compiled(ONE, None)
        async with traced.transaction() as transaction:
            await transaction.execute(ONE)
        await asyncio.sleep(0)
    assert len(named(exporter, "SELECT")) == 2
    assert len(named(exporter, "COMMIT")) == 2
    async with traced.transaction() as transaction:
        await transaction.execute(ONE)
    await asyncio.sleep(0)
    assert len(named(exporter, "SELECT")) == 3
    assert len(named(exporter, "COMMIT")) == 3  # although its connection goes on


async def test_statements_of_no_request_are_no_spans(
    traced: DataAccessLayer, exporter: Spans
) -> None:
    async with traced.transaction() as transaction:
        await transaction.execute(ONE)
        await transaction.fetch_value(ONE)
    await asyncio.sleep(0)
    assert not exporter.get_finished_spans()


async def test_a_list_of_parameters_is_one_span(
    traced: DataAccessLayer, exporter: Spans, inside: int
) -> None:
    numbers = [{"n": number} for number in range(3)]
    async with traced.transaction() as transaction:
        await transaction.execute(sa.text("CREATE TEMP TABLE listed (n int) ON COMMIT DROP"))
        await transaction.execute(sa.text("INSERT INTO listed VALUES (:n)"), numbers)
    await asyncio.sleep(0)
    assert len(named(exporter, "INSERT")) == 1


async def test_without_a_collector_nothing_listens(engine_uri: str) -> None:
    dal = DataAccessLayer()
    engine = create_engine(engine_uri)
    dal.use(engine)
    before = len(engine.sync_engine.dispatch.before_cursor_execute)
    with observe(dal):
        assert len(engine.sync_engine.dispatch.before_cursor_execute) == before
    await engine.dispose()


async def test_without_a_database_there_is_nothing_to_observe() -> None:
    with observe(DataAccessLayer()):
        pass


def measured(reader: InMemoryMetricReader) -> dict[tuple[str, str], float]:
    """What the reader collects: (metric, state) to value."""
    found: dict[tuple[str, str], float] = {}
    data = reader.get_metrics_data()
    for resource in data.resource_metrics if data else ():
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.data.data_points:
                    labels = dict(point.attributes or {})
                    state = labels.get("db.client.connection.state", "")
                    found[metric.name, str(state)] = point.value  # type: ignore[union-attr]
    return found


async def test_the_pool_is_measured(engine_uri: str) -> None:
    reader = InMemoryMetricReader()
    meter_provider = MeterProvider([reader])
    dal = DataAccessLayer()
    engine = create_engine(engine_uri, pool_size=3)
    dal.use(engine)
    with observe(dal, meter_provider=meter_provider):
        async with engine.connect(), engine.connect():
            busy = measured(reader)
        idle = measured(reader)
    await engine.dispose()
    assert busy["db.client.connection.max", ""] == 3
    assert busy["db.client.connection.count", "used"] == 2
    assert idle["db.client.connection.count", "used"] == 0
    assert idle["db.client.connection.count", "idle"] == 2


async def test_the_meter_does_not_keep_the_engine() -> None:
    dal = DataAccessLayer()
    engine = create_engine("postgresql+asyncpg://nobody@127.0.0.1:9/none")
    dal.use(engine)
    with observe(dal, meter_provider=MeterProvider([InMemoryMetricReader()])):
        pass
    alive = weakref.ref(engine)
    await engine.dispose()
    del dal, engine
    gc.collect()
    assert alive() is None


@contextmanager
def collector() -> Iterator[tuple[str, dict[str, bytes]]]:
    """Run an OTLP collector on the loopback; yield its URL and what it was sent, by path."""
    received: dict[str, bytes] = defaultdict(bytes)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received[self.path] += self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", received
        server.shutdown()


async def test_one_variable_turns_it_on() -> None:
    """Requests are exported, probes are not, and nothing is left behind at the end."""
    with (
        collector() as (url, received),
        serving(
            OTEL_EXPORTER_OTLP_ENDPOINT=url,
            OTEL_EXPORTER_OTLP_COMPRESSION="none",
            OTEL_SERVICE_NAME="books",
        ) as server,
    ):
        await ready(server)
        await server.get("/slow/0")
        server.signal(signal.SIGTERM)
        await server.output()
    assert b"GET /slow/{seconds}" in received["/v1/traces"]
    assert b"books" in received["/v1/traces"]
    assert b"readyz" not in received["/v1/traces"]
    assert b"http.server.request.duration" in received["/v1/metrics"]
