"""Many rows in one statement."""

from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict
from sqlalchemy import Column, Integer, MetaData, Table, func, literal_column, select, text
from sqlalchemy.types import NullType

from dalkit import DataAccessLayer, TransactionManager
from dalkit.entities.insert_many import insert_many
from dalkit.errors import UnknownColumn

from tests.entities.models import Author, Mood, Odd


class Spot(BaseModel):
    """A row with a value that is no type of Pydantic's."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    id: int
    at: Any


class NewAuthor(BaseModel):
    """An author without an id."""

    name: str
    country: str = "PL"


async def test_entities_come_back_in_the_order_of_the_rows(tx: TransactionManager) -> None:
    names = [f"author {number * 7919 % 1000}" for number in range(1000)]
    authors = await Author.insert_many(tx, (NewAuthor(name=name) for name in names))
    assert [author.name for author in authors] == names
    assert [author.id for author in authors] == sorted(author.id for author in authors)


async def test_only_the_number_is_returned_on_request(tx: TransactionManager) -> None:
    rows = [{"name": "a", "country": "x"}, {"name": "b", "country": "y"}]
    assert await Author.insert_many(tx, rows, returning=False) == 2
    assert await Author.get_one(tx, name="b", country="y") is not None


async def test_no_rows_are_no_statement(tx: TransactionManager) -> None:
    assert await Author.insert_many(tx, []) == []
    assert await Author.insert_many(tx, [], returning=False) == 0


async def test_one_statement_inserts_more_rows_than_parameters_fit(tx: TransactionManager) -> None:
    """60,000 values, where a statement has at most 32,767 parameters.

    cmin is the number of the command in its transaction that inserted the row.
    """
    rows = [{"name": str(number), "country": "", "born": number} for number in range(20_000)]
    await Author.insert_many(tx, rows, returning=False)
    commands = func.count(literal_column("cmin::text").distinct())
    found = await tx.fetch_one(
        select(func.count().label("rows"), commands.label("commands")).select_from(
            tx.get_table("lab.author")
        )
    )
    assert found == {"rows": 20_000, "commands": 1}


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("tags", [["a", "b,c"], None, []]),
        ("feeling", [Mood.HAPPY, None, Mood.SAD]),
        ("meta", [{"a": 1}, None, [1, "x", None]]),
        ("ratio", [1.5, None, float("inf")]),
        ("code", ["a\nb", None, "ü"]),
        ("label", ["abcde", None, ""]),
        ('Mixed "Case', [1, None, 0]),
    ],
)
async def test_values_of_every_type_arrive(
    tx: TransactionManager, column: str, values: list[Any]
) -> None:
    rows = [{"order": i, "select": "", column: value} for i, value in enumerate(values)]
    made = await Odd.insert_many(tx, rows)
    assert [row.model_dump(by_alias=True)[column] for row in made] == values
    assert [row.doubled for row in made] == [0, 2, 4]


async def test_rows_must_name_the_same_columns(tx: TransactionManager) -> None:
    first = {"name": "a", "country": "x"}
    with pytest.raises(ValueError, match="Row 1 has no 'country', which the first row has"):
        await Author.insert_many(tx, [first, {"name": "b"}])
    with pytest.raises(ValueError, match="Row 2 has 'born', which the first row has not"):
        await Author.insert_many(tx, [first, first, {**first, "born": 1}])


async def test_unknown_and_generated_columns_are_refused(tx: TransactionManager) -> None:
    with pytest.raises(UnknownColumn, match="Did you mean 'name'"):
        await Author.insert_many(tx, [{"nam": "a"}])
    with pytest.raises(ValueError, match="is generated"):
        await Author.insert_many(tx, [{"id": 1, "name": "a", "country": "x"}])


async def test_rows_of_a_type_that_sqlalchemy_does_not_know_come_back_in_order(
    db: DataAccessLayer,
) -> None:
    async with db.transaction(with_commit=False) as tx:
        await tx.execute(text("CREATE TABLE spot (id int PRIMARY KEY, at point)"))
        rows = [{"id": number, "at": (number, 0.5)} for number in (3, 1, 2)]
        spots = Table("spot", MetaData(), Column("id", Integer), Column("at", NullType()))
        found = await insert_many(tx, spots, rows, Spot)
    assert isinstance(found, list)
    assert [(row["id"], row["at"].x) for row in found] == [(3, 3.0), (1, 1.0), (2, 2.0)]
