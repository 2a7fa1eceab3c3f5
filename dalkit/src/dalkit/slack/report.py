"""What an alert says of an error, in texts that are safe and short enough for Slack."""

import os
import re
from collections.abc import Hashable, Iterator
from pathlib import Path
from traceback import FrameSummary, StackSummary, walk_tb
from typing import Any, NamedTuple

from opentelemetry.trace import get_current_span
from starlette.types import Scope

from ..errors import sqlstate_of

# Control characters, line separators, bidirectional overrides and lone surrogates: they break JSON
# decoders or let a text show something other than what it says.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def escape(text: str) -> str:
    """Return `text` without any Slack control sequence: no mention, no link, no entity.

    Escaping `& < >` disarms `<!channel>` and `<url|text>` (Slack, "Formatting text"); the zero
    width spaces keep Slack from turning a bare `@here` or URL into a mention or a link.
    """
    text = text.translate(_ENTITIES).replace("://", ":\u200b//")
    return re.sub("(?i)@(?=channel|here|everyone)", "@\u200b", text)


def fit(text: str, limit: int) -> str:
    """Return `text` escaped, without control characters, in at most `limit` characters."""
    escaped = escape(_UNPRINTABLE.sub("\ufffd", text[: limit + 1]))
    if len(escaped) <= limit:
        return escaped
    return re.sub("&[a-z]{0,3}$", "", escaped[: limit - 1]) + "…"  # no half of an entity


def fence(text: str, limit: int) -> str:
    """Return `text` as a code block of at most `limit` characters that it cannot break out of."""
    inner = fit(text.replace("`", "'"), limit - len("```\n\n```"))
    return f"```\n{inner}\n```"


_NAMED = (
    r"(?:passw(?:or)?d|passphrase|pwd|secret|token|(?:api|access|private)[-_]?key"
    r"|credential|signature|session|cookie)[\w-]{0,40}[\"']?"
)
_VENDORS = "eyJ|[spr]k[-_](?:live|test|proj|ant)|xox[a-z]-|gh[pousr]_|github_pat_|glpat-|AKIA|AIza"
_SECRETS = [
    re.compile(expression, re.IGNORECASE | re.DOTALL)
    for expression in (
        r"(-----BEGIN ).*",
        r"((?:authorization|cookie)[\"']?\s{0,4}[=:])[^\n]*",
        r"(://)(?:[^\s'\"<>]*@|[^\s:/@]*:[^\s/@]*[^\s/@\d][^\s/@]*\Z)",  # or cut before the @
        r"(\bhooks\.slack\.com/)[^\s'\"]+",
        r"(\b(?:bearer|basic)\s)\s*(?:[\w.~+/=-]{6,}|[\w.~+/=-]+\Z)",
        rf"()\b(?:{_VENDORS})[\w.-]{{4,}}",
        rf"({_NAMED}\s{{0,4}}[=:,]\s{{0,4}})b?(?:\"[^\"]*\"?|'[^']*'?)",
        rf"({_NAMED}(?:=|:\s?))[^\s'\",;&)\]\[]+",  # not `token = ...`, which is code
    )
]


def mask(text: str) -> str:
    """Return `text`, or a line of code, without what looks like a secret.

    Cut it first: a search may take quadratic time.
    """
    for secret in _SECRETS:
        text = secret.sub(r"\1[redacted]", text)
    return text


_LONGEST_TEXT, _LONGEST_LINE = 500, 200
_MOST_CAUSES, _MOST_MEMBERS = 5, 10
_HEAD, _TAIL = 3, 9  # levels of a traceback
_LATE = ("Caught handled exception, but response already started.",)
_DALKIT = re.escape(str(Path(__file__).parents[1]) + os.sep)
_STDLIB = re.escape(str(Path(os.__file__).parent) + os.sep)
_INSTALLED = r"(?:site|dist)-packages[\\/]"

# Slack's limits: 50 blocks, 150 characters a header, 3000 a section, 2000 a field, about 10,000 in
# all. These stay below together; Slack counts UTF-16 units, Python code points: hence the margin.
_HEADER, _FIELD, _TEXT, _LIST, _TRACEBACK = 140, 200, 1_200, 1_300, 2_600


class Origin(NamedTuple):
    """The service that reports."""

    service: str = "service"
    version: str = ""
    environment: str = ""


UNNAMED = Origin()


class Report(NamedTuple):
    """What is said of a failed request: short texts, and no value that the request brought."""

    title: str
    facts: dict[str, str]
    sections: list[tuple[str, str, int]]  # caption, text, and how long it may get

    def payload(self, notes: list[str], *, again: bool = False) -> dict[str, Any]:
        """Return a message for Slack of about 9,000 characters at most; `again`, it is short."""
        title = fit(self.title, _HEADER) + (", again" if again else "")
        facts = [_text(f"*{name}*\n{fit(value, _FIELD)}") for name, value in self.facts.items()]
        blocks: list[dict[str, Any]] = [
            {"type": "header", "text": {"type": "plain_text", "text": title}},
            {"type": "section", "fields": facts},
        ]
        for caption, text, limit in () if again else self.sections:
            blocks.append({"type": "section", "text": _text(caption + fence(text, limit))})
        if notes:
            blocks.append({"type": "context", "elements": [_text(escape(" ".join(notes)))]})
        return {"text": title, "blocks": blocks, "unfurl_links": False, "unfurl_media": False}


def _text(text: str) -> dict[str, Any]:
    # verbatim: Slack must not look for URLs, channels and names to link.
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def own_code(package: str | None) -> re.Pattern[str]:
    """Return what matches the names of the owner's files: not dalkit's, Python's, nor installed.

    Those of `package` are the owner's all the same: in a container's image it is installed, too.
    """
    but = rf"(?!{re.escape(package.partition('.')[0])}[\\/])" if package else ""
    library = rf"<|{_DALKIT}|{_STDLIB}(?!{_INSTALLED})|.*[\\/]{_INSTALLED}{but}"
    return re.compile(rf"(?!{library})", re.DOTALL)


def _frames(exc: BaseException, own: re.Pattern[str]) -> list[FrameSummary]:
    """The levels of its traceback that are the owner's, or else the innermost; no locals."""
    levels = StackSummary.extract(walk_tb(exc.__traceback__), lookup_lines=False)
    return [level for level in levels if own.match(level.filename)] or levels[-1:]


def _place(level: FrameSummary) -> str:
    """`books/router.py:42 in create_book`, the path shortened to its last three parts."""
    path = "/".join(level.filename.replace("\\", "/").split("/")[-3:])
    return f"{path}:{level.lineno} in {level.name}"


def leaves(exc: BaseException) -> Iterator[BaseException]:
    """Yield the exceptions of a group, however deeply nested; `exc` itself when it is none."""
    todo = [exc]
    while todo:  # no recursion: a group may be deep
        if isinstance(item := todo.pop(), BaseExceptionGroup):
            todo.extend(reversed(item.exceptions))
        else:
            yield item


def _unwrap(exc: BaseException) -> BaseException:
    """The error behind Starlette's RuntimeError, raised when the error's handler came too late."""
    late = type(exc) is RuntimeError and exc.args == _LATE
    return (exc.__cause__ if late else None) or exc


def _name(exc: BaseException) -> str:
    cls = type(exc)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__name__}"


def _route(scope: Scope) -> str:
    """The template of the path; the path itself may hold anything."""
    state = scope.get("state") or {}
    return str(state.get("route") or getattr(scope.get("route"), "path", "no route"))


def fingerprint(exc: BaseException, scope: Scope, own: re.Pattern[str]) -> Hashable:
    """Return what makes two errors the same: the type, and the owner's place or else the route."""
    exc = _unwrap(exc)
    places = [_place(level) for level in _frames(exc, own) if own.match(level.filename)]
    return _name(exc), places[-1] if places else _route(scope)


def describe(
    exc: BaseException, scope: Scope, status: int, origin: Origin, own: re.Pattern[str], text: bool
) -> Report:
    """Return the report. Whatever is quoted in it was cut before it was looked at."""
    exc = _unwrap(exc)
    causes = _causes(exc)
    members = list(leaves(exc)) if isinstance(exc, BaseExceptionGroup) else []
    shown, levels = members[:_MOST_MEMBERS], _frames(exc, own)

    def summary(one: BaseException) -> str:
        said = f": {_said(one)}" if text else ""
        return _name(one) + said + "".join(f" ({_place(it)})" for it in _frames(one, own)[-1:])

    state, trace = scope.get("state") or {}, get_current_span().get_span_context()
    is_job = "job" in scope  # which dalkit.worker does, no client
    facts = {
        "Job": scope.get("job"),
        "Request": not is_job and f"{str(scope.get('method', 'WebSocket'))[:20]} {_route(scope)}",
        "Status": not is_job and status,
        "Place": "".join(map(_place, levels[-1:])),
        "SQLSTATE": next(filter(None, map(sqlstate_of, (exc, *causes, *shown))), None),
        "User": state.get("user_sub"),
        "Request id": state.get("request_id"),
        "Trace id": trace.is_valid and format(trace.trace_id, "032x"),
        "Version": origin.version,
    }
    sections = [
        ("", _said(exc) if text else "", _TEXT),
        (f"*All {len(members)}*\n", "\n".join(map(summary, shown)), _LIST),
        ("", _traceback(levels, own), _TRACEBACK),
        ("*Caused by*\n", "\n".join(map(summary, causes)), _LIST),
    ]
    return Report(
        f"{origin.environment}: {_name(exc)[:_HEADER]} in {origin.service}",
        {name: str(value)[:_FIELD] for name, value in facts.items() if value},
        [section for section in sections if section[1]],
    )


def _said(exc: BaseException) -> str:
    try:
        return mask(str(exc)[:_LONGEST_TEXT])
    except Exception as bug:  # noqa: BLE001  (whatever a __str__ may raise)
        return f"(its text cannot be shown: {type(bug).__name__})"


def _causes(exc: BaseException) -> list[BaseException]:
    chain = [exc]  # which may be a circle
    while cause := exc.__cause__ or (None if exc.__suppress_context__ else exc.__context__):
        if len(chain) > _MOST_CAUSES or any(cause is one for one in chain):
            break
        chain.append(exc := cause)
    return chain[1:]


def _traceback(levels: list[FrameSummary], own: re.Pattern[str]) -> str:
    """The first and the last levels, each with its line of code where that is the owner's."""
    left_out = len(levels) - _HEAD - _TAIL
    lines = []
    for level in levels if left_out <= 0 else levels[:_HEAD] + levels[-_TAIL:]:
        code = (level.line or "")[:_LONGEST_LINE] if own.match(level.filename) else ""
        lines.append(_place(level) + (f"\n    {mask(code)}" if code else ""))
    if left_out > 0:
        lines.insert(_HEAD, f"… {left_out} more …")
    return "\n".join(lines)
