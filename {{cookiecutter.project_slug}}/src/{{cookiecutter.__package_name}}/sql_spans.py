"""A span for every statement that PostgreSQL gets, from SQLAlchemy or from asyncpg itself."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import time_ns
from typing import Any

import asyncpg
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

_LONGEST_STATEMENT = 2_000


@contextmanager
def trace_statements(engine: AsyncEngine, tracer: Tracer) -> Iterator[None]:
    """Make spans while inside. They hold the statement with its placeholders, never a parameter."""
    spans = _Spans(engine, tracer)
    listeners: list[tuple[str, Callable[..., None]]] = [
        ("before_cursor_execute", spans.started),
        ("after_cursor_execute", spans.finished),
        ("handle_error", spans.failed),
        ("connect", spans.connected),
    ]
    for name, listener in listeners:
        event.listen(engine.sync_engine, name, listener)
    try:
        yield
    finally:
        for name, listener in listeners:
            event.remove(engine.sync_engine, name, listener)


class _Spans:
    def __init__(self, engine: AsyncEngine, tracer: Tracer) -> None:
        self._tracer = tracer
        self._about = {"db.system.name": "postgresql", "db.namespace": engine.url.database or ""}
        if engine.url.host:
            self._about["server.address"] = engine.url.host

    def started(
        self, conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
    ) -> None:
        context._span = self._span(statement)

    def finished(
        self, conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
    ) -> None:
        context._span.end()

    def failed(self, failure: Any) -> None:
        span = getattr(failure.execution_context, "_span", None)
        if span is not None:
            _end_with(span, failure.original_exception)

    def connected(self, dbapi_connection: Any, record: Any) -> None:
        # SQLAlchemy prepares its statements, which asyncpg does not tell its loggers about: a
        # statement comes either through the events above or through here.
        dbapi_connection.driver_connection.add_query_logger(self._queried)

    def _queried(self, query: asyncpg.connection.LoggedQuery) -> None:
        """Called by asyncpg right after a statement, in the context of whoever ran it."""
        now = time_ns()
        span = self._span(query.query, start=now - int(query.elapsed * 1e9))
        if query.exception is None:
            span.end(now)
        else:
            _end_with(span, query.exception, now)

    def _span(self, statement: str, start: int | None = None) -> Span:
        operation = statement.split(None, 1)[0].upper() if statement.strip() else "SQL"
        text = {"db.operation.name": operation, "db.query.text": statement[:_LONGEST_STATEMENT]}
        return self._tracer.start_span(
            operation, kind=SpanKind.CLIENT, attributes=self._about | text, start_time=start
        )


def _end_with(span: Span, error: BaseException, at: int | None = None) -> None:
    state = getattr(error, "sqlstate", None)
    span.set_attribute("error.type", state or type(error).__qualname__)
    if state:
        span.set_attribute("db.response.status_code", state)
    span.set_status(Status(StatusCode.ERROR))
    span.end(at)
