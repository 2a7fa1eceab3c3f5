"""A report as Slack blocks, within Slack's limits."""

from typing import Any

from .report import Report
from .text import escape, fence, fit

# Slack's limits: 50 blocks, 150 characters a header, 3000 a section, 2000 a field, about 10,000 in
# all. These stay below together; Slack counts UTF-16 units, Python code points: hence the margin.
HEADER = 140
TRACEBACK = 2_600
MESSAGE = 1_200
FIELD = 200
LIST = 1_300
BODY = 1_200

Block = dict[str, Any]


def alert(report: Report, *, repeats: int = 0, dropped: int = 0) -> dict[str, Any]:
    """Return the payload for an error: at most 8 blocks and about 9,000 characters."""
    title = f"{report.origin.environment}: {report.error} in {report.origin.service}"
    blocks = [
        _header(title),
        _facts(report),
        _section(fence(report.message or "(no message)", MESSAGE)),
    ]
    if report.leaves:
        blocks.append(_section("*All of them*\n" + fence("\n".join(report.leaves), LIST)))
    if report.traceback:
        blocks.append(_section(fence(report.traceback, TRACEBACK)))
    if report.causes:
        blocks.append(_section("*Caused by*\n" + fence("\n".join(report.causes), LIST)))
    if report.body is not None:
        blocks.append(_section("*Body* (redacted)\n" + fence(report.body, BODY)))
    return _payload(title, blocks, _notes(repeats, dropped))


def again(report: Report, *, repeats: int, window: float, dropped: int = 0) -> dict[str, Any]:
    """Return the short payload that tells how often a known error was seen since the last one."""
    title = f"{report.origin.environment}: {report.error} in {report.origin.service}, again"
    note = f"{repeats} more in the last {window:g} s."
    return _payload(title, [_header(title), _facts(report)], [note, *_notes(0, dropped)])


def _notes(repeats: int, dropped: int) -> list[str]:
    notes = []
    if repeats:
        notes.append(f"Seen {repeats} more times meanwhile.")
    if dropped:
        notes.append(f"{dropped} other alerts were dropped: the queue was full.")
    return notes


def _payload(title: str, blocks: list[Block], notes: list[str]) -> dict[str, Any]:
    if notes:
        elements = [{"type": "mrkdwn", "text": escape(" ".join(notes)), "verbatim": True}]
        blocks.append({"type": "context", "elements": elements})
    return {
        "text": fit(title, HEADER),
        "blocks": blocks,
        "unfurl_links": False,
        "unfurl_media": False,
    }


def _header(title: str) -> Block:
    return {"type": "header", "text": {"type": "plain_text", "text": fit(title, HEADER)}}


def _facts(report: Report) -> Block:
    facts = {
        "Request": report.request,
        "Status": report.status,
        "Place": report.place,
        "User": report.user,
        "Request id": report.request_id,
        "Version": report.origin.version,
    }
    fields = [f"*{name}*\n{fit(value, FIELD)}" for name, value in facts.items() if value]
    return {"type": "section", "fields": [_text(field) for field in fields]}


def _section(text: str) -> Block:
    return {"type": "section", "text": _text(text)}


def _text(text: str) -> dict[str, Any]:
    # verbatim: Slack must not look for URLs, channels and names to link.
    return {"type": "mrkdwn", "text": text, "verbatim": True}
