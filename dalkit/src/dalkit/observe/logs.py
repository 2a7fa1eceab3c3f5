"""Structured logs: JSON for machines, colours for people, one stream for everything."""

import asyncio
import json
import logging
import os
import sys
from contextlib import nullcontext
from contextvars import Context, copy_context
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from time import time
from typing import Any, Literal, TextIO

import structlog
from opentelemetry.trace import get_current_span
from pydantic_core import to_json
from structlog.contextvars import get_contextvars
from structlog.typing import EventDict, Processor, WrappedLogger

from .output import Output, output_of

# They log every request at INFO, with its URL, which may be a secret; alembic every look at the
# schema, which is every probe of /readyz.
_CHATTY = ("httpx", "httpcore", "hpack", "alembic.runtime.migration")
#: The logger of the line that every request has.
ACCESS = "access"
_FIRST = ("timestamp", "level", "logger", "event", "request_id")
#: Characters of a text in a line of JSON, an exception's with its traceback for example: a line of
#: 50 MB stops the loop for a second, and whoever collects logs cuts or drops it.
_LONGEST = 50_000
#: Seconds that the lines of requests wait for each other, to be written in one go.
_TOGETHER = 0.005
_LEVELS = {logging.DEBUG: "debug", logging.INFO: "info"}
_access, _root = logging.getLogger(ACCESS), logging.getLogger()


def configure_logging(
    level: str = "INFO",
    log_format: Literal["auto", "json", "console"] = "auto",
    stream: TextIO | None = None,
) -> None:
    """Send the logs of structlog, the standard library and uvicorn to `stream` (stdout).

    To stderr where stdout is closed, and to nobody where both are.
    `auto` is `console` on a terminal and `json` elsewhere. Process-wide: call it where the process
    starts, not in create_app. The access log is the middleware's, uvicorn's is turned off.
    """
    stream = stream or sys.stdout or sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115
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
    handler = _Handler(stream)
    if is_console := log_format == "console" or (log_format == "auto" and stream.isatty()):
        renderer = structlog.dev.ConsoleRenderer(
            colors=_shows_colors(stream),
            # Not rich's: that shows local variables, and with them the secrets they hold.
            exception_formatter=structlog.dev.plain_traceback,
        )
        written: list[Processor] = [renderer]
    else:
        written = [
            structlog.processors.format_exc_info,
            structlog.processors.UnicodeDecoder(),
            _cut,
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
    processors = [
        structlog.stdlib.filter_by_level,
        *shared,
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ]
    if not is_console:
        handler.processors = tuple(processors)
    structlog.configure(
        processors=processors,
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


class _Handler(logging.StreamHandler[TextIO | Output]):
    """Writes records at once; lines of requests together, in their order and before any record."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(output_of(stream, self._report))
        self._requests: list[tuple[float, int, dict[str, Any], Context]] = []
        #: Which is going to write them; one that was closed before that never does.
        self._loop: asyncio.AbstractEventLoop | None = None
        #: What structlog makes the same lines with, if it does; a test or an owner may change it.
        self.processors: tuple[Processor, ...] = ()

    def write_soon(self, level: int, facts: dict[str, Any]) -> None:
        """Write a request's line within _TOGETHER; at once where somebody is watching.

        Lines are put together when they are written: in a row that takes a third of the time.
        """
        loop = asyncio.get_running_loop()
        with self.lock or nullcontext():
            is_first = not self._requests or self._loop is not loop
            self._requests.append((time(), level, facts, copy_context()))
            self._loop = loop
        if is_first:
            delay = 0 if self.stream.isatty() else _TOGETHER
            loop.call_later(delay, self.flush)

    def emit(self, record: logging.LogRecord) -> None:
        self._write_requests()
        super().emit(record)

    def flush(self) -> None:
        self._write_requests()
        super().flush()

    def finish(self) -> None:
        """Write all lines, and tell how many could not be written."""
        with self.lock or nullcontext():
            self.flush()
            if isinstance(self.stream, Output):
                self.stream.finish()

    def close(self) -> None:
        self.finish()
        super().close()

    def _report(self, lost: int) -> str:
        facts = {"name": __name__, "levelno": logging.WARNING, "levelname": "WARNING"}
        facts["msg"] = f"{lost} lines of the log are lost: nobody took them in time"
        return Context().run(self.format, logging.makeLogRecord(facts)) + self.terminator

    def _write_requests(self) -> None:
        with self.lock or nullcontext():
            requests, self._requests = self._requests, []
            lines = []
            for request in requests:
                try:
                    lines.append(f"{_line(*request)}{self.terminator}")
                except Exception:  # noqa: BLE001 - as for a record that cannot be formatted
                    self.handleError(logging.makeLogRecord({"name": ACCESS, "msg": "request"}))
            try:
                if lines:
                    self.stream.write("".join(lines))
            except Exception:  # noqa: BLE001 - as for a record that cannot be written
                self.handleError(logging.makeLogRecord({"name": ACCESS, "msg": "request"}))


def _line(when: float, level: int, facts: dict[str, Any], context: Context) -> str:
    """Return the line that structlog would make, in that context."""
    event: EventDict = {
        "timestamp": _timestamp(when),
        "level": _LEVELS[level],
        "logger": ACCESS,
        "event": "request",
    }
    bound = context.run(get_contextvars)
    if "request_id" in bound:
        event["request_id"] = bound["request_id"]
    event.update(facts)
    for name, value in bound.items():
        event.setdefault(name, value)
    return _as_json(context.run(_add_trace, None, "", event))


def _timestamp(when: float) -> str:
    """Return it as structlog's TimeStamper does (ISO 8601, UTC)."""
    second, microsecond = divmod(round(when * 1_000_000), 1_000_000)
    return f"{_until_the_second(second)}.{microsecond:06}Z"


@lru_cache(maxsize=2)
def _until_the_second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def log_request(level: int, facts: dict[str, Any]) -> None:
    """Log what is known of a request, as structlog would; the caller has asked for the level.

    Every request has such a line, and structlog's way to it costs more than many a route. Where
    somebody else takes part (a handler, a filter, a processor, a test), that is the way it goes.
    """
    handler = _root.handlers[0] if len(_root.handlers) == 1 else None
    is_watched = _access.handlers or _access.filters or not _access.propagate
    if (
        is_watched
        or not isinstance(handler, _Handler)
        or (handler.level or handler.filters)
        or handler.processors != tuple(structlog.get_config()["processors"])
    ):
        structlog.get_logger(ACCESS).log(level, "request", **facts)
    else:
        handler.write_soon(level, facts)


def flush_requests() -> None:
    """Write the lines that wait, before a process ends that is not asked to tidy up."""
    for handler in _root.handlers:
        if isinstance(handler, _Handler):
            handler.finish()


def _shows_colors(stream: TextIO) -> bool:
    """A terminal that can, unless NO_COLOR is set (https://no-color.org)."""
    return stream.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")


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


def _cut(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Leave out the middle of texts that are too long: of a traceback, both ends are needed."""
    for name, value in event.items():
        if isinstance(value, str) and (left_out := len(value) - _LONGEST) > 0:
            half = _LONGEST // 2
            event[name] = f"{value[:half]}\n… {left_out} characters …\n{value[-half:]}"
    return event


def _is_without_url(record: logging.LogRecord) -> bool:
    """Leave out uvicorn's lines about WebSockets: their URLs have queries, which may be secrets."""
    return not str(record.msg).startswith('%s - "WebSocket %s"')
