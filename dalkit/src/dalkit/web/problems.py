"""Errors as application/problem+json (RFC 9457)."""

import sys
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from http import HTTPStatus
from typing import Any, cast

import structlog
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from pydantic_core import to_json
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from ..data.faults import Fault, cause_of, fault_of
from ..errors import DRIVER_ERRORS, DatabaseUnreachable, NotReflected, TooManyStreams, sqlstate_of
from .request import SCOPE_KEY, note_collision
from .route_index import allowed_methods

logger = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
#: SQLSTATE read_only_sql_transaction.
READ_ONLY = "25006"
#: A client with more mistakes than these needs another look at the document, not a longer list.
MOST_ERRORS = 50
#: Characters of a name or a message in one of them, as they may be the client's own words.
LONGEST_QUOTE = 500
#: What FastAPI says of a body that is no JSON for another reason than its syntax.
UNREADABLE = "There was an error parsing the body"
#: Seconds after which the log says again why the database cannot be used.
REPEATED_AFTER = 1.0
#: Statuses that Python names as RFC 7231 did before 3.13. A document is the same on every Python.
RENAMED = {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}


class FieldError(BaseModel):
    """One value of the request that was refused."""

    loc: list[str | int] = Field(description="body, query, path or header, then the name")
    msg: str
    type: str


class ProblemDetails(BaseModel):
    """The body of every error."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str | None = None
    request_id: str | None = None
    errors: list[FieldError] | None = None


class Problem(HTTPException):
    """An expected error: it is answered as it is, and alerts nobody."""

    def __init__(
        self,
        status: int,
        detail: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(status, detail or phrase_of(status), dict(headers or {}))
        self.members = members


class EncodedResponse(JSONResponse):
    """A JSON response in which a NaN is null and not an error."""

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return to_json(content, inf_nan_mode="null")


class ProblemResponse(EncodedResponse):
    """A response whose body is a problem."""

    media_type = MEDIA_TYPE


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what a route documents beside the usual errors; for its `responses=` argument."""
    return {status: {"description": phrase_of(status)} for status in statuses}


def phrase_of(status: int) -> str:
    """Return the name of a status as RFC 9110 has it, on every Python; of an unknown one, Error."""
    name = HTTPStatus(status).phrase if status in set(HTTPStatus) else "Error"
    return RENAMED.get(status, name)


def problem(
    request: Request,
    status: int,
    detail: str | None = None,
    *,
    headers: Mapping[str, str] | None = None,
    **members: Any,
) -> ProblemResponse:
    """A problem response that carries the id of the request."""
    title = phrase_of(status)
    body: dict[str, Any] = {"type": "about:blank", "title": title, "status": status}
    if detail and detail != title:
        body["detail"] = detail
    if request_id := getattr(request.state, "request_id", None):
        body["request_id"] = request_id
    return ProblemResponse(body | members, status, dict(headers or {}))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    error = cast(HTTPException, error)
    if error.status_code in (204, 304):
        return Response(status_code=error.status_code, headers=error.headers)
    members, headers = getattr(error, "members", {}), dict(error.headers or {})
    detail = _unreadable(error.__cause__) if error.detail == UNREADABLE else str(error.detail)
    if error.status_code == 405 and (methods := allowed_methods(request.scope)):
        headers["Allow"] = methods
    return problem(request, error.status_code, detail, headers=headers, **members)


def _unreadable(reason: BaseException | None) -> str:
    """Why Python's json could not read a body."""
    if isinstance(reason, RecursionError):
        return "The body is nested too deeply."
    if isinstance(reason, UnicodeDecodeError):
        return "The body is not UTF-8."
    if isinstance(reason, ValueError):
        return f"The body has an integer of more than {sys.get_int_max_str_digits()} digits."
    return UNREADABLE + "."


async def _on_invalid_request(request: Request, error: Exception) -> Response:
    """422 without the refused values: JSON cannot carry a NaN or a lone surrogate among them.

    415 when there is a body and it is not announced as JSON, which FastAPI then takes for text.
    """
    found = cast(RequestValidationError, error).errors()
    if _is_of_another_type(request, found):
        return problem(request, 415, "Send JSON, as content-type: application/json.")
    detail = "The request has values that are not valid."
    if len(found) > MOST_ERRORS:
        detail = f"The request has {len(found)} values that are not valid; here are the first."
    errors = [_field_error(item) for item in found[:MOST_ERRORS]]
    return problem(request, 422, detail, errors=errors)


def _is_of_another_type(request: Request, errors: Sequence[Any]) -> bool:
    announced = request.headers.get("content-type", "")
    media_type = announced.partition(";")[0].strip().lower()
    is_json = media_type == "application/json" or media_type.endswith("+json")
    return bool(announced) and not is_json and any(e["loc"] == ("body",) for e in errors)


async def _on_database_error(request: Request, error: Exception) -> Response:
    fault = fault_of(error, getattr(request.state, "dal", None))
    if fault is None or _wrote_where_it_reads(request, error):
        raise error  # a defect of the service: 500, an alert and a traceback in the log
    if fault.is_outage:
        request.state.outage = error
        _log_outage(request, error)
    if fault.is_collision:
        note_collision(request)
    errors = _errors_of(fault, request)
    return problem(request, fault.status, fault.detail, headers=fault.headers, **errors)


def _log_outage(request: Request, error: Exception) -> None:
    """Say in the log why the client got 503: the answer does not, and there may be no Slack.

    The same reason is said once in REPEATED_AFTER: an overload refuses hundreds in a second.
    """
    dal = getattr(request.state, "dal", None)
    reason = cause_of(error, dal.engine.url) if dal and dal.engines else str(error)
    state, now = request.app.state, time.monotonic()
    said, at = getattr(state, "outage_said", ("", 0.0))
    if said == reason and now - at < REPEATED_AFTER:
        return
    state.outage_said = reason, now
    logger.warning("The database cannot be used.", reason=reason)


def _wrote_where_it_reads(request: Request, error: Exception) -> bool:
    """Whether a handler has written through ReadTransaction: no outage, as on a standby."""
    transaction = request.scope.get(SCOPE_KEY)
    return sqlstate_of(error) == READ_ONLY and getattr(transaction, "readonly", False)


def _errors_of(fault: Fault, request: Request) -> dict[str, Any]:
    where, columns = "body", fault.columns
    if not fault.is_written:  # a key of the path, if the parameter has the name of the column
        where, columns = "path", tuple(it for it in columns if it in request.path_params)
    errors = [{"loc": [where, it], "msg": fault.detail, "type": fault.kind} for it in columns]
    return {"errors": errors} if errors else {}


def _field_error(item: Any) -> dict[str, Any]:
    loc = [_printable(part) for part in item["loc"]]
    return {"loc": loc, "msg": _printable(item["msg"]), "type": item["type"]}


async def _on_unexpected(request: Request, error: Exception) -> Response:
    return problem(request, 500, "The request could not be completed; the error was recorded.")


def _printable(value: Any) -> Any:
    """What a client wrote, cut before it is looked at, and without lone surrogates."""
    if not isinstance(value, str):
        return value
    shown = value if len(value) <= LONGEST_QUOTE else value[:LONGEST_QUOTE] + "…"
    return shown.encode("utf-8", "replace").decode()


Handler = Callable[[Request, Any], Coroutine[Any, Any, Response]]

problem_handlers: dict[int | type[Exception], Handler] = {
    HTTPException: _on_http_exception,
    RequestValidationError: _on_invalid_request,
    **dict.fromkeys(
        (
            DBAPIError,
            *DRIVER_ERRORS,
            PoolTimeoutError,
            DatabaseUnreachable,
            TimeoutError,
            NotReflected,
            TooManyStreams,
        ),
        _on_database_error,
    ),
    Exception: _on_unexpected,
}
"""For `FastAPI(exception_handlers=...)`: every error is answered as a problem."""
