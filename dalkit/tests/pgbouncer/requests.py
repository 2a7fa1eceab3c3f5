"""A process of a service behind PgBouncer: so many requests, and the statuses on stdout.

Run by tests/pgbouncer/test_pgbouncer.py with a URL, the first number and how many.
"""

import asyncio
import json
import sys
from collections import Counter

import sqlalchemy as sa
from fastapi import FastAPI
from fastapi.middleware import Middleware

from dalkit import DataAccessLayer, ReadTransaction, Transaction, TransactionMiddleware
from dalkit.data.engine import create_engine
from dalkit.web import problem_handlers

from tests.web.apps import calling

AT_ONCE = 20


def create(dal: DataAccessLayer) -> FastAPI:
    """Routes that write with a context, read, fail and set what ends with the transaction."""
    context = {"app.user": "somebody"}
    app = FastAPI(
        middleware=[Middleware(TransactionMiddleware, dal=dal, context=lambda _: context)],
        exception_handlers=problem_handlers,
    )

    @app.post("/things/{number}", status_code=201)
    async def add(number: int, tx: Transaction) -> None:
        thing = tx.get_table("thing")
        await tx.fetch_all(sa.insert(thing).values(id=number).returning(thing.c.id))
        await tx.set_statement_timeout(7)
        if number % 3 == 0:
            async with tx.savepoint():
                await tx.execute(sa.update(thing).where(thing.c.id == number).values(n=number))

    @app.get("/things/{number}")
    async def read(number: int, tx: ReadTransaction) -> int:
        thing = tx.get_table("thing")
        rows = await tx.fetch_all(sa.select(thing.c.id).where(thing.c.id == number))
        return len(rows)

    return app


async def main(url: str, first: int, count: int) -> None:
    """Write and read back each number."""
    engine = create_engine(url, pgbouncer=True, pool_timeout=60, statement_timeout=30)
    dal = DataAccessLayer()
    await dal.reflect(engine)
    statuses: Counter[int] = Counter()
    places = asyncio.Semaphore(AT_ONCE)

    async with calling(create(dal)) as client:

        async def one(number: int) -> None:
            async with places:
                statuses[(await client.post(f"/things/{number}")).status_code] += 1
                statuses[(await client.post(f"/things/{number}")).status_code] += 1
                response = await client.get(f"/things/{number}")
                statuses[response.status_code if response.text == "1" else 0] += 1

        await asyncio.gather(*(one(number) for number in range(first, first + count // 3)))
    await engine.dispose()
    print(json.dumps(statuses))  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
