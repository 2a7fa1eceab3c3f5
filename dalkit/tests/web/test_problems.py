"""What a request that is not valid is answered with."""

from collections.abc import AsyncIterator

import httpx
import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict

from dalkit import TransactionManager
from dalkit.web import problem_handlers


class Strict(BaseModel):
    """A body without further fields."""

    model_config = ConfigDict(extra="forbid")

    number: int


@pytest.fixture
async def api() -> AsyncIterator[httpx.AsyncClient]:
    """An application that takes JSON."""
    app = FastAPI(exception_handlers=problem_handlers)

    @app.post("/strict")
    async def take(body: Strict) -> Strict:
        return body

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        yield client


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("application/merge-patch+json", 200),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("nonsense", 415),
    ],
)
async def test_json_is_announced_as_json(
    api: httpx.AsyncClient, content_type: str, status: int
) -> None:
    headers = {"content-type": content_type}
    response = await api.post("/strict", content=b'{"number": 1}', headers=headers)
    assert response.status_code == status
    if status == 415:
        assert response.headers["content-type"] == "application/problem+json"


async def test_a_wrong_value_is_no_wrong_type(api: httpx.AsyncClient) -> None:
    response = await api.post("/strict", json={"number": "one"})
    assert response.status_code == 422


async def test_fifty_errors_are_listed_and_all_are_counted(api: httpx.AsyncClient) -> None:
    body = {f"unknown {number}": 1 for number in range(70_000)}
    response = await api.post("/strict", json=body)
    assert response.status_code == 422
    assert len(response.json()["errors"]) == 50
    assert "70001 values" in response.json()["detail"]
    assert len(response.content) < 10_000


async def test_a_long_name_is_cut(api: httpx.AsyncClient) -> None:
    response = await api.post("/strict", json={"\x00" * 100_000: 1})
    assert response.status_code == 422
    [named] = [
        error["loc"][1] for error in response.json()["errors"] if error["loc"][1] != "number"
    ]
    assert named == "\x00" * 500 + "…"
    assert len(response.content) < 5_000


@pytest.mark.parametrize(
    ("method", "hall", "loc"),
    [
        ("POST", 2**40, ["body", "hall"]),
        ("POST", -(2**31) - 1, ["body", "hall"]),
        ("GET", 2**40, ["path", "hall"]),
    ],
)
async def test_a_part_of_a_key_that_its_column_cannot_hold_is_named(
    transaction: TransactionManager, method: str, hall: int, loc: list[str]
) -> None:
    """Where the model allows more than the column does."""
    key = sa.Column("hall", sa.Integer), sa.Column("number", sa.BigInteger)
    seat = sa.Table("seat", sa.MetaData(), *key)
    await transaction.run(sa.text("CREATE TABLE seat (hall int, number bigint)"))
    app = FastAPI(exception_handlers=problem_handlers)

    @app.post("/seats")
    async def add(body: dict[str, int]) -> None:
        await transaction.execute(sa.insert(seat).values(body))

    @app.get("/seats/{hall}/{number}")
    async def get(hall: int, number: int) -> None:
        await transaction.fetch_one(
            sa.select(seat).where(seat.c.hall == hall, seat.c.number == number)
        )

    path = "/seats" if method == "POST" else f"/seats/{hall}/1"
    body = {"hall": hall, "number": 1} if method == "POST" else None
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        response = await client.request(method, path, json=body)
    assert response.status_code == 422
    assert [error["loc"] for error in response.json()["errors"]] == [loc]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"a":' * 100_000, "The body is nested too deeply."),
        (b'{"number": %b}' % (b"9" * 5000), "The body has an integer of more than 4300 digits."),
        (b'{"number": "\xff"}', "The body is not UTF-8."),
    ],
)
async def test_a_body_that_cannot_be_read_is_400_with_the_reason(
    api: httpx.AsyncClient, content: bytes, reason: str
) -> None:
    headers = {"content-type": "application/json"}
    response = await api.post("/strict", content=content, headers=headers)
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["detail"] == reason
