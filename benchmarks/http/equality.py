"""Before anything is measured: every system gives the same answers."""

import difflib
import http.client
import json
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from ..errors import BenchmarkError
from .work import ITEMS, Request, requests

#: Requests of each kind that are compared.
SAMPLE = 20


class Answer(NamedTuple):
    """A status and the parsed body."""

    status: int
    body: object


def sample(case: str, rows: int) -> list[Request]:
    """Return requests of a case; of pages also others, and one past the end."""
    chosen = requests(case, SAMPLE, rows, seed=0)
    if chosen[0].path.startswith(f"{ITEMS}?"):
        path = chosen[0].path
        chosen += [Request("GET", f"{path}&offset={offset}") for offset in (7, 20, rows // 50)]
    return chosen


def ask(port: int, work: Sequence[Request], headers: Mapping[str, str]) -> list[Answer]:
    """Return the answers of one server."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    sent = {"Content-Type": "application/json", **headers}
    answers = []
    try:
        for request in work:
            body = request.body.encode() or None
            connection.request(request.method, request.path, body, sent)
            response = connection.getresponse()
            answers.append(Answer(response.status, json.loads(response.read())))
    finally:
        connection.close()
    return answers


def check(
    case: str,
    rows: int,
    ports: Mapping[str, int],
    headers: Mapping[str, Mapping[str, str]],
    reset: Callable[[], None],
) -> int:
    """Return how many answers are equal; raises BenchmarkError with the first difference."""
    work = sample(case, rows)
    expected: list[Answer] = []
    reference = ""
    for name, port in ports.items():
        if case == "post":
            reset()
        answers = ask(port, work, headers[name])
        if not expected:
            expected, reference = answers, name
        for request, wanted, got in zip(work, expected, answers, strict=True):
            if got != wanted or got.status >= 300:
                raise BenchmarkError(_difference(request, reference, wanted, name, got))
    return len(work)


def _difference(request: Request, first: str, wanted: Answer, second: str, got: Answer) -> str:
    before, after = (json.dumps(answer, indent=1).splitlines() for answer in (wanted, got))
    lines = difflib.unified_diff(before, after, fromfile=first, tofile=second, lineterm="", n=1)
    what = f"{request.method} {request.path} {request.body}".strip()
    if wanted == got:
        return f"{second} answers {what} with {got.status}: {got.body}"
    return "\n".join([f"The answers to {what} differ:", *list(lines)[:40]])
