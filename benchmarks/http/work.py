"""The work: what is asked, in a sequence that is the same for every system."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import NamedTuple
from uuid import UUID

ITEMS = "/v1/items"


class Request(NamedTuple):
    """What is sent; `body` is JSON or empty."""

    method: str
    path: str
    body: str = ""


def _get(random: Random, rows: int) -> Request:
    return Request("GET", f"{ITEMS}/{random.randint(1, rows)}")


def _page(random: Random, rows: int) -> Request:
    filters = f"category__eq={random.randrange(100)}&quantity__ge={random.randrange(500)}"
    return Request("GET", f"{ITEMS}?{filters}&order_by=-id&limit=20&count=none")


def _counted(random: Random, rows: int) -> Request:
    return Request("GET", _page(random, rows).path.removesuffix("&count=none"))


def _post(random: Random, rows: int) -> Request:
    created = datetime(2026, 6, 1, tzinfo=UTC) + timedelta(milliseconds=random.randrange(10**9))
    item = {
        "code": str(UUID(int=random.getrandbits(128))),
        "name": f"New item {random.randrange(10**6)}",
        "quantity": random.randrange(1000),
        "weight": random.randrange(1000) / 8,
        "category": random.randrange(100),
        "active": random.random() < 0.5,
        "created_at": created.isoformat().replace("+00:00", "Z"),
    }
    return Request("POST", ITEMS, json.dumps(item))


CASES: dict[str, Callable[[Random, int], Request]] = {
    "get": _get,
    "page": _page,
    "count": _counted,
    "post": _post,
}
TITLES = {
    "get": "GET by key",
    "page": "page of 20",
    "count": "page and total_count",
    "post": "POST",
}


def requests(case: str, number: int, rows: int, seed: int) -> list[Request]:
    """Return `number` requests of a case; the same arguments give the same ones."""
    random = Random(f"{case} {seed}")
    return [CASES[case](random, rows) for _ in range(number)]
