"""A span for every statement that a request sends, through SQLAlchemy or asyncpg itself."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from time import time_ns
from typing import Any

import asyncpg
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, get_current_span
from sqlalchemy import event
from sqlalchemy.engine.interfaces import ExecuteStyle
from sqlalchemy.ext.asyncio import AsyncEngine

from ..fast.wire import TRACERS

_LONGEST_STATEMENT = 2_000
_has_span: ContextVar[bool] = ContextVar("statement_has_span", default=False)


@contextmanager
def trace_statements(engine: AsyncEngine, tracer: Tracer) -> Iterator[None]:
    """Make spans while inside. They hold the statement with its placeholders, never a parameter.

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
