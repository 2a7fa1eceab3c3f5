"""What an exception says about itself: family, place, message and trimmed traceback."""

import linecache
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from traceback import walk_tb
from types import TracebackType

from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from starlette.exceptions import HTTPException, WebSocketException
from starlette.requests import ClientDisconnect
from starlette.websockets import WebSocketDisconnect

_EXPECTED = (
    HTTPException,
    WebSocketException,
    RequestValidationError,
    WebSocketRequestValidationError,
    ClientDisconnect,
    WebSocketDisconnect,
)
_HEAD, _TAIL = 3, 9
_LONGEST_CHAIN = 5
_PACKAGE = __name__.partition(".")[0]
_FOREIGN = ("site-packages", "dist-packages", sysconfig.get_path("stdlib"), "<frozen")


@dataclass(frozen=True, slots=True)
class Frame:
    """One level of a traceback; no locals."""

    filename: str
    lineno: int
    function: str
    own: bool

    @property
    def place(self) -> str:
        """`books/router.py:42 in create_book`, the path shortened to its last three parts."""
        path = "/".join(self.filename.replace("\\", "/").split("/")[-3:])
        return f"{path}:{self.lineno} in {self.function}"

    @property
    def source(self) -> str:
        """The line of code, or an empty string."""
        return linecache.getline(self.filename, self.lineno).strip()


def leaves(exc: BaseException) -> list[BaseException]:
    """Return the exceptions of a group, however deeply nested; [exc] when it is none."""
    found: list[BaseException] = []
    todo = [exc]
    while todo:
        item = todo.pop()
        if isinstance(item, BaseExceptionGroup):
            todo.extend(reversed(item.exceptions))
        else:
            found.append(item)
    return found


def is_expected(exc: BaseException) -> bool:
    """Tell whether nobody needs to hear of it: it carries a status, or the client went away."""
    return all(isinstance(leaf, _EXPECTED) for leaf in leaves(exc))


def unwrap(exc: BaseException) -> BaseException:
    """Return the error behind Starlette's "response already started", or `exc` itself.

    Starlette raises that RuntimeError when an exception that has a handler comes too late for it.
    """
    cause = exc.__cause__
    late = isinstance(exc, RuntimeError) and "response already started" in str(exc)
    return cause if late and isinstance(cause, Exception) else exc


def type_name(exc: BaseException) -> str:
    """Return `module.Class`, without `builtins`."""
    cls = type(exc)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__name__}"


def message(exc: BaseException) -> str:
    """Return what the exception says, without the values that its class is known to quote.

    Database errors name the SQLSTATE and the constraint (their text has parameters and rows),
    validation errors the field and the rule (theirs has the input). The rest is str(exc).
    """
    try:
        return _message(exc)
    except Exception as bug:  # noqa: BLE001  (whatever a __str__ may raise)
        return f"(its text cannot be shown: {type(bug).__name__})"


def _message(exc: BaseException) -> str:
    if isinstance(exc, BaseExceptionGroup):
        return f"{exc.message} ({len(leaves(exc))} exceptions)"
    origin = getattr(exc, "orig", None) or exc
    if origin is not exc or type(exc).__module__.startswith("asyncpg"):
        return _database_message(origin)
    if callable(errors := getattr(exc, "errors", None)):
        return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['type']}" for e in errors())
    return str(exc)


def _database_message(origin: BaseException) -> str:
    details = origin.__cause__ or origin
    names = ("constraint_name", "schema_name", "table_name", "column_name")
    known = [f"{name} {value}" for name in names if (value := getattr(details, name, None))]
    state = getattr(origin, "sqlstate", None) or getattr(details, "sqlstate", None)
    return ", ".join([type(details).__name__, f"SQLSTATE {state}", *known])


def chain(exc: BaseException) -> Iterator[BaseException]:
    """Yield the causes of `exc`, nearest first, five at most."""
    seen = {id(exc)}
    for _ in range(_LONGEST_CHAIN):
        following = exc.__cause__ or (None if exc.__suppress_context__ else exc.__context__)
        if following is None or id(following) in seen:
            return
        seen.add(id(following))
        yield following
        exc = following


def frames(traceback: TracebackType | None) -> list[Frame]:
    """Return the levels of a traceback, outermost first."""
    return [
        Frame(
            frame.f_code.co_filename,
            lineno,
            frame.f_code.co_name,
            _is_own(frame.f_code.co_filename, frame.f_globals.get("__name__", "")),
        )
        for frame, lineno in walk_tb(traceback)
    ]


def _is_own(filename: str, module: str) -> bool:
    """Tell the service's code from libraries; once installed, it lives in site-packages too.

    Middleware is around every request and tells nothing about this one.
    """
    if module.partition(".")[0] == _PACKAGE:
        return "middleware" not in module
    return not any(part in filename for part in _FOREIGN)


def place(levels: list[Frame]) -> Frame | None:
    """Return the innermost level of the service's own code, or the innermost of all."""
    own = (level for level in reversed(levels) if level.own)
    return next(own, levels[-1] if levels else None)


def trim(levels: list[Frame]) -> tuple[list[Frame], int, list[Frame]]:
    """Return (first levels, number left out, last levels), libraries' inner workings left out."""
    shown = [level for level in levels[:-1] if level.own] + levels[-1:]
    if len(shown) <= _HEAD + _TAIL:
        return shown, 0, []
    return shown[:_HEAD], len(shown) - _HEAD - _TAIL, shown[-_TAIL:]
