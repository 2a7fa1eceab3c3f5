"""Structured logs: JSON for machines, colours for people, one stream for everything."""

import json
import logging
import sys
from contextlib import nullcontext
from typing import Any, Literal, TextIO

import structlog
from opentelemetry.trace import get_current_span
from pydantic_core import to_json
from structlog.typing import EventDict, Processor, WrappedLogger

# They log every request at INFO, with its URL, which may be a secret; alembic every look at the
# schema, which is every probe of /readyz.
_CHATTY = ("httpx", "httpcore", "hpack", "alembic.runtime.migration")
#: The logger of the line that every request has.
ACCESS = "access"
_FIRST = ("timestamp", "level", "logger", "event", "request_id")


def configure_logging(
    level: str = "INFO",
    log_format: Literal["auto", "json", "console"] = "auto",
    stream: TextIO | None = None,
) -> None:
    """Send the logs of structlog, the standard library and uvicorn to `stream` (stdout).

    `auto` is `console` on a terminal and `json` elsewhere. Process-wide: call it where the process
    starts, not in create_app. The access log is the middleware's, uvicorn's is turned off.
    """
    stream = stream or sys.stdout
    # Spare each record the search for its caller, thread and process (Python's logging HOWTO).
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_trace,
    ]
    handler = logging.StreamHandler(stream)
    if is_console := log_format == "console" or (log_format == "auto" and stream.isatty()):
        # The plain formatter: rich's shows local variables, and with them the secrets they hold.
        plain = structlog.dev.plain_traceback
        written: list[Processor] = [structlog.dev.ConsoleRenderer(exception_formatter=plain)]
    else:
        written = [
            structlog.processors.format_exc_info,
            structlog.processors.UnicodeDecoder(),
            _in_order,
            structlog.processors.JSONRenderer(serializer=_as_json),
        ]
    meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[meta, *written])
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(True)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = name != "uvicorn.access"
    logging.getLogger("uvicorn.error").addFilter(_is_without_url)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            *([] if is_console else [_in_short(handler)]),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _in_short(handler: logging.StreamHandler[TextIO]) -> Processor:
    """Write a request's line at once: it is the same line, without the standard library's record.

    Every request has one. Where somebody else wants the records too, they are made.
    """

    def write(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        is_plain = logger.propagate and not (logger.handlers or logger.filters or handler.filters)
        is_alone = not handler.level and logging.getLogger().handlers == [handler]
        if logger.name != ACCESS or not is_plain or not is_alone:
            return event
        line = _as_json(_in_order(logger, method, event)) + handler.terminator
        try:
            with handler.lock or nullcontext():
                handler.stream.write(line)
                handler.flush()
        except Exception:  # noqa: BLE001 - the handler deals with it when it gets the record
            return event
        raise structlog.DropEvent

    return write


def _as_json(event: EventDict, **_: Any) -> str:
    """One line of JSON; what JSON does not know is written as repr() has it."""
    try:
        return to_json(event, fallback=repr, inf_nan_mode="constants").decode()
    except ValueError:  # a lone surrogate has no UTF-8, bytes may be none
        return json.dumps(event, default=repr)


def _add_trace(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Name the OpenTelemetry trace, so that a log line leads to it and back."""
    context = get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = format(context.trace_id, "032x")
        event["span_id"] = format(context.span_id, "016x")
    return event


def _in_order(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Put first what a person looks for first when they have only the JSON."""
    return {**{name: event[name] for name in _FIRST if name in event}, **event}


def _is_without_url(record: logging.LogRecord) -> bool:
    """Leave out uvicorn's lines about WebSockets: their URLs have queries, which may be secrets."""
    return not str(record.msg).startswith('%s - "WebSocket %s"')
