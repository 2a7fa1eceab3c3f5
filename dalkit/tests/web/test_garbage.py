"""A request leaves no circle of objects behind: it would wait for the garbage collector."""

import gc
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from dalkit import TransactionManager
from dalkit.web.request import RequestTransaction
from dalkit.web.transactions import ReplayableBody, TransactionMiddleware

from tests.service.authors import Author

OF_A_REQUEST = (RequestTransaction, ReplayableBody)


@pytest.fixture
def no_collection() -> Iterator[None]:
    """What is freed is freed because nothing refers to it."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(params=["with a context", "without one"])
async def app_with(
    request: pytest.FixtureRequest,
    app: FastAPI,
    client: httpx.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The service, whose transactions may have a context that knows the request."""
    _ = await client.get("/livez")
    if request.param == "with a context":
        stack: Any = app.middleware_stack
        while not isinstance(stack, TransactionMiddleware):
            stack = stack.app
        monkeypatch.setattr(stack, "context", lambda of: {"app.path": of.url.path})


@pytest.mark.usefixtures("app_with")
@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/authors", None, 200),
        ("POST", "/v1/authors", {"name": "Octavia E. Butler"}, 201),
        ("POST", "/v1/authors", {"name": 7}, 422),
        ("GET", "/v1/books/123456789", None, 404),
        ("GET", "/v1/nowhere", None, 404),
        ("GET", "/livez", None, 200),
        ("POST", "/v1/authors", {"name": "Ursula K. Le Guin"}, 409),
    ],
)
async def test_all_that_a_request_was_is_freed_with_its_answer(
    client: httpx.AsyncClient,
    transaction: TransactionManager,
    no_collection: None,
    method: str,
    path: str,
    body: Any,
    status: int,
) -> None:
    _ = await Author.insert(transaction, name="Ursula K. Le Guin")
    before = of_requests()  # a test may keep one
    assert (await client.request(method, path, json=body)).status_code == status
    assert [one for one in of_requests() if not any(one is other for other in before)] == []


def of_requests() -> list[object]:
    """What there is of requests."""
    return [one for one in gc.get_objects() if type(one) in OF_A_REQUEST]
