"""A few authors and books to look at: `python -m dev.run --seed`."""

import asyncio
from datetime import date
from decimal import Decimal

from sqlalchemy import text

from {{ cookiecutter.__package_name }}.db.engine import engine_from
from {{ cookiecutter.__package_name }}.settings import load_settings

AUTHORS = ("Ursula K. Le Guin", "Stanisław Lem", "Octavia E. Butler")
COLUMNS = ("catalog", "title", "author", "published", "price")
BOOKS = (
    ("LG-1", "A Wizard of Earthsea", AUTHORS[0], date(1968, 11, 1), Decimal("8.99")),
    ("LG-2", "The Left Hand of Darkness", AUTHORS[0], date(1969, 3, 1), Decimal("9.50")),
    ("LEM-1", "Solaris", AUTHORS[1], date(1961, 6, 1), Decimal("7.25")),
    ("LEM-2", "The Cyberiad", AUTHORS[1], date(1965, 1, 1), None),
    ("BUT-1", "Kindred", AUTHORS[2], date(1979, 6, 1), Decimal("10.00")),
)

INSERT_AUTHOR = text("INSERT INTO author (name) VALUES (:name) ON CONFLICT DO NOTHING")
INSERT_BOOK = text(
    "INSERT INTO book (catalog, title, author_id, published, price)"
    " SELECT :catalog, :title, id, CAST(:published AS date), CAST(:price AS numeric)"
    " FROM author WHERE name = :author"
    " ON CONFLICT DO NOTHING"
)


async def seed() -> None:
    """Insert the rows that are not there yet into the database of DATABASE_URL."""
    engine = engine_from(load_settings())
    async with engine.begin() as connection:
        await connection.execute(INSERT_AUTHOR, [{"name": name} for name in AUTHORS])
        rows = [dict(zip(COLUMNS, book, strict=True)) for book in BOOKS]
        await connection.execute(INSERT_BOOK, rows)
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(seed())
