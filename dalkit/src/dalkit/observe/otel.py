"""OpenTelemetry: on when OTEL_EXPORTER_OTLP_ENDPOINT names a collector, silent otherwise."""

import os
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from functools import partial
from importlib import import_module
from time import time_ns
from typing import Any
from weakref import ref

import asyncpg
from fastapi.telemetry import TelemetryConfig
from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation, get_meter
from opentelemetry.trace import (
    NoOpTracerProvider,
    ProxyTracerProvider,
    Span,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    TracerProvider,
    get_current_span,
    get_tracer_provider,
)
from sqlalchemy import QueuePool, event
from sqlalchemy.engine.interfaces import ExecuteStyle
from sqlalchemy.ext.asyncio import AsyncEngine

from .. import DataAccessLayer
from ..extras import extra
from ..fast.wire import CONTEXT_MARK, TRACERS

_LONGEST_STATEMENT = 2_000
_has_span: ContextVar[bool] = ContextVar("statement_has_span", default=False)


@contextmanager
def trace_statements(engine: AsyncEngine, tracer: Tracer) -> Iterator[None]:
    """Make spans while inside. They hold the statement with its placeholders, never a parameter,
    and BEGIN without the values of a transaction's context.

    Only inside of another span, a request's or one's own: those of probes, of the startup and of
    the wait for a database would be most, and tell nothing. COPY has none: asyncpg tells nobody.
    """
    spans = _Spans(engine, tracer)
    listeners: dict[str, Callable[..., None]] = {
        "before_cursor_execute": spans.started,
        "after_cursor_execute": spans.finished,
        "handle_error": spans.failed,
        "connect": spans.connected,
    }
    for name, listener in listeners.items():
        event.listen(engine.sync_engine, name, listener)
    tracers = engine.get_execution_options().get(TRACERS, ())
    engine.update_execution_options(**{TRACERS: (*tracers, spans.traced)})
    try:
        yield
    finally:
        spans.are_wanted = False
        tracers = engine.get_execution_options()[TRACERS]
        others = tuple(one for one in tracers if one != spans.traced)
        engine.update_execution_options(**{TRACERS: others})
        for name, listener in listeners.items():
            event.remove(engine.sync_engine, name, listener)


class _Spans:
    """Three ways lead here: what `db` sends, what SQLAlchemy sends, and what others do."""

    def __init__(self, engine: AsyncEngine, tracer: Tracer) -> None:
        self.are_wanted = True
        self.traced = partial(_TracedDriver, spans=self)
        self._tracer = tracer
        self._attribute = f"_span_{id(self)}"  # of SQLAlchemy's execution context
        self._about = {"db.system.name": "postgresql", "db.namespace": engine.url.database or ""}
        if engine.url.host:
            self._about["server.address"] = engine.url.host

    @contextmanager
    def around(self, statement: str) -> Iterator[None]:
        if not (self.are_wanted and _is_in_a_span()):
            yield
            return
        span, token = self._span(statement), _has_span.set(True)
        try:
            yield
        except BaseException as error:
            _end_with(span, error)
            raise
        else:
            span.end()
        finally:
            _has_span.reset(token)

    def refused(self, statement: str, start: int, error: Exception) -> None:
        if self.are_wanted and _is_in_a_span():
            _end_with(self._span(statement, start), error)

    def started(
        self, conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
    ) -> None:
        if _is_in_a_span() and context.execute_style is not ExecuteStyle.EXECUTEMANY:
            setattr(context, self._attribute, self._span(statement))

    def finished(
        self, conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
    ) -> None:
        if span := getattr(context, self._attribute, None):
            span.end()

    def failed(self, failure: Any) -> None:
        if span := getattr(failure.execution_context, self._attribute, None):
            _end_with(span, failure.original_exception)

    def connected(self, dbapi_connection: Any, record: Any) -> None:
        # SQLAlchemy prepares its statements, which asyncpg does not tell its loggers about (but for
        # executemany): a statement comes either through the events above or through here.
        dbapi_connection.driver_connection.add_query_logger(self._queried)

    def _queried(self, query: asyncpg.connection.LoggedQuery) -> None:
        """Called by asyncpg in the context of whoever ran a statement of their own.

        That is in the event loop's next turn: the span is later by what was done until then.
        """
        if _has_span.get() or not (self.are_wanted and _is_in_a_span()):
            return
        now = time_ns()
        _end_with(self._span(query.query, now - int(query.elapsed * 1e9)), query.exception, now)

    def _span(self, statement: str, start: int | None = None) -> Span:
        statement = statement.partition(CONTEXT_MARK)[0].rstrip("; ")
        operation = statement.split(None, 1)[0].rstrip(";").upper() if statement.strip() else "SQL"
        text = {"db.operation.name": operation, "db.query.text": statement[:_LONGEST_STATEMENT]}
        return self._tracer.start_span(
            operation, kind=SpanKind.CLIENT, attributes=self._about | text, start_time=start
        )


class _TracedDriver:
    """asyncpg's connection as `db` uses it, with a span around each statement."""

    def __init__(self, driver: Any, spans: _Spans) -> None:
        self._driver = driver
        self._spans = spans

    async def execute(self, query: str, **options: Any) -> str:
        with self._spans.around(query):
            answer: str = await self._driver.execute(query, **options)
            return answer

    async def fetch(self, query: str, *values: Any) -> list[asyncpg.Record]:
        with self._spans.around(query):
            records: list[asyncpg.Record] = await self._driver.fetch(query, *values)
            return records

    async def cursor(self, query: str, *values: Any) -> Any:
        with self._spans.around(query):
            return await self._driver.cursor(query, *values)

    async def prepare(self, query: str) -> Any:
        start = time_ns()
        try:
            return await self._driver.prepare(query)
        except Exception as error:
            self._spans.refused(query, start, error)  # it will not be fetched
            raise


def _is_in_a_span() -> bool:
    return get_current_span().get_span_context().is_valid


def _end_with(span: Span, error: BaseException | None, at: int | None = None) -> None:
    if error is not None:
        state = getattr(error, "sqlstate", None)
        span.set_attribute("error.type", state or type(error).__qualname__)
        if state:
            span.set_attribute("db.response.status_code", state)
        span.set_status(Status(StatusCode.ERROR))
    span.end(at)


SIGNALS = ("", "TRACES_", "METRICS_", "LOGS_")


def _is_probe(scope: MutableMapping[str, Any]) -> bool:
    return scope.get("path") in ("/livez", "/readyz")


# auto_configure: FastAPI adds OTLP exporters for what the OTEL_* variables ask for, and nothing
# when they ask for nothing. Operation spans (dependencies, endpoint, serialisation) would double
# the cost of tracing, and probes would be most of the spans; neither tells much.
# FastAPI would look for providers in each request: 3 to 12 us.
def telemetry() -> TelemetryConfig:
    """What FastAPI is told: all is off unless there are OTEL_* variables or a tracer provider.

    Whoever makes providers in code makes them before `create_app`. Raises MissingExtra when a
    collector is named and the extra otel, which sends to it, is not installed.
    """
    named = (os.environ.get(f"OTEL_EXPORTER_OTLP_{signal}ENDPOINT") for signal in SIGNALS)
    if any(named) and os.environ.get("OTEL_SDK_DISABLED", "").lower() != "true":
        with extra("otel", "dalkit.observe.telemetry"):
            import_module("opentelemetry.exporter.otlp.proto.http")
            import_module("opentelemetry.sdk")
    asked_for = any(name.startswith("OTEL_") for name in os.environ) or _is_traced()
    return TelemetryConfig(
        auto_configure=True,
        operation_spans=False,
        exclude=_is_probe,
        tracing=asked_for,
        metrics=asked_for,
        logs=asked_for,
    )


def _is_traced(provider: TracerProvider | None = None) -> bool:
    nothing = ProxyTracerProvider | NoOpTracerProvider
    return not isinstance(provider or get_tracer_provider(), nothing)


@contextmanager
def observe(
    dal: DataAccessLayer,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> Iterator[None]:
    """Trace the statements of `dal` and measure its pool; enter it before the first connection.

    The providers are the global ones, which FastAPI configures just before the lifespan. Without
    a tracer provider no listener is added, so a statement costs nothing more.
    """
    provider = tracer_provider or get_tracer_provider()
    with ExitStack() as stack:
        for engine in dict.fromkeys(dal.engines):
            _measure_pool(engine, get_meter(__name__, meter_provider=meter_provider))
            if _is_traced(provider):
                stack.enter_context(trace_statements(engine, provider.get_tracer(__name__)))
        yield


def _measure_pool(engine: AsyncEngine, meter: Meter) -> None:
    """Export the connections in use, idle and allowed (OpenTelemetry: database client metrics)."""
    named = {"db.client.connection.pool.name": engine.url.database or ""}
    weak = ref(engine)  # as instruments are never removed, and the engine should be

    def pools() -> Iterator[QueuePool]:
        if (alive := weak()) is not None and isinstance(alive.pool, QueuePool):
            yield alive.pool

    def count(_: CallbackOptions) -> Iterator[Observation]:
        for pool in pools():
            for state, value in (("used", pool.checkedout()), ("idle", pool.checkedin())):
                yield Observation(value, {**named, "db.client.connection.state": state})

    def most(_: CallbackOptions) -> Iterator[Observation]:
        for pool in pools():
            yield Observation(pool.size(), named)

    for name, callback in (("count", count), ("max", most)):
        meter.create_observable_up_down_counter(
            f"db.client.connection.{name}", [callback], unit="{connection}"
        )
