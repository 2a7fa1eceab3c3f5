"""Everything an alert says about one failed request, redacted."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from starlette.types import Scope

from . import exceptions
from .body import describe_body
from .known_values import known_values
from .redaction import redact, redact_source

_MOST_LEAVES = 10


@dataclass(frozen=True, slots=True)
class Origin:
    """The service that reports."""

    service: str
    version: str
    environment: str


UNNAMED = Origin("service", "", "")


@dataclass(frozen=True, slots=True)
class Report:
    """Plain text, already without secrets; message.py turns it into blocks."""

    origin: Origin
    error: str
    message: str
    place: str | None
    traceback: str
    causes: tuple[str, ...]
    leaves: tuple[str, ...]
    request: str
    status: str
    request_id: str | None
    user: str | None
    body: str | None


@dataclass(frozen=True, slots=True)
class Incident:
    """What happened, before anything was read out of it: cheap to make for every error."""

    scope: Scope
    error: BaseException
    status: int
    body: bytes

    def fingerprint(self) -> tuple[Hashable, int]:
        """Return what makes two errors the same (type and place), and a hash of the text."""
        error = exceptions.unwrap(self.error)
        place = exceptions.place(exceptions.frames(error.__traceback__))
        return (exceptions.type_name(error), place), hash(exceptions.message(error))

    def report(self, origin: Origin, *, include_body: bool) -> Report:
        """Return the redacted description. Costs about a millisecond; made once per window."""
        known = known_values(self.scope, self.body)
        error = exceptions.unwrap(self.error)
        levels = exceptions.frames(error.__traceback__)
        place = exceptions.place(levels)

        def said(exc: BaseException) -> str:
            return redact(exceptions.message(exc), known)

        def summary(exc: BaseException) -> str:
            where = exceptions.place(exceptions.frames(exc.__traceback__))
            return f"{exceptions.type_name(exc)}: {said(exc)[:300]}" + (
                f" ({where.place})" if where else ""
            )

        members = exceptions.leaves(error) if isinstance(error, BaseExceptionGroup) else []
        more = len(members) - _MOST_LEAVES
        state: Mapping[str, str] = self.scope.get("state") or {}
        route = state.get("route") or getattr(self.scope.get("route"), "path", "no route")
        return Report(
            origin=origin,
            error=exceptions.type_name(error),
            message=said(error),
            place=place.place if place else None,
            traceback=_traceback(levels),
            causes=tuple(summary(cause) for cause in exceptions.chain(error)),
            leaves=tuple(summary(leaf) for leaf in members[:_MOST_LEAVES])
            + ((f"and {more} more",) if more > 0 else ()),
            request=f"{self.scope.get('method', 'WebSocket')} {route}",
            status=str(self.status),
            request_id=state.get("request_id"),
            user=state.get("user_sub"),
            body=describe_body(self.scope, self.body) if include_body else None,
        )


def _traceback(levels: list[exceptions.Frame]) -> str:
    head, left_out, tail = exceptions.trim(levels)
    lines = [_level(level) for level in head]
    if left_out:
        lines.append(f"… {left_out} more …")
    return "\n".join(lines + [_level(level) for level in tail])


def _level(level: exceptions.Frame) -> str:
    return f"{level.place}\n    {redact_source(level.source)}"
