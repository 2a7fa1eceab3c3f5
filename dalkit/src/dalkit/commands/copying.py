"""What the commands of `bulk` do: load and export files with COPY, with a bar on a terminal."""

import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeElapsedColumn
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from .. import DataAccessLayer, UnknownTable, connect_or_exit
from ..bulk import BulkError, Counts, Csv, columns_of, export, format_of_path, insert_from, load
from ..data.faults import fault_of
from ..settings import Settings
from . import Result, fail, run


def load_file(
    settings: Callable[[], Settings],
    table: str,
    file: Path,
    update: str | None,
    delimiter: str | None,
    null: str | None,
) -> None:
    """Insert the rows of the file, and tell how many."""
    options = {"file_format": _format(file, delimiter, null)}
    with _progress(file.stat().st_size) as options["progress"]:
        counts = _run(_load(settings(), table, file, update, options))
    parts = (f"{number} {name}" for name, number in vars(counts).items())
    typer.echo(f"{table}: {', '.join(parts)}.")


def export_file(
    settings: Callable[[], Settings],
    table: str,
    file: Path,
    delimiter: str | None,
    null: str | None,
) -> None:
    """Write the rows of the table to the file, `-` for stdout, and tell how many."""
    to_stdout = str(file) == "-"
    options = {"file_format": _format(Path("-.csv") if to_stdout else file, delimiter, null)}
    with _progress(None) as options["progress"]:
        target = sys.stdout.buffer if to_stdout else file
        rows = _run(_export(settings(), table, target, options))
    typer.echo(f"{table}: {rows} exported.", err=True)


async def _load(
    settings: Settings, name: str, file: Path, update: str | None, options: dict[str, Any]
) -> Counts:
    named = await columns_of(file, options["file_format"])
    async with _database(settings) as dal, dal.transaction() as transaction:
        table = dal.get_table(name)
        columns = [table.c[name] for name in dict.fromkeys(named) if name in table.c]
        for column in columns:
            if column.computed is not None or (column.identity and column.identity.always):
                fail(f"{table.name}.{column.name} is always generated: leave it out.")
        known = dal.unique_constraints(table)
        if update and update not in known:
            listed = ", ".join(known) or "none"
            fail(f"No unique constraint {update!r} on {table.name}; it has: {listed}.")
        options["names"] = [column.name for column in columns]  # the check of the file has others
        conflict = known[update] if update else ()
        move = partial(insert_from, table=table, conflict=conflict)
        return await load(transaction, file, move, like=table, **options)


async def _export(settings: Settings, name: str, target: Any, options: dict[str, Any]) -> int:
    async with _database(settings) as dal, dal.transaction(readonly=True) as transaction:
        return await export(transaction, select(dal.get_table(name)), target, **options)


def _format(file: Path, delimiter: str | None, null: str | None) -> Any:
    try:
        known = format_of_path(file)
        if not isinstance(known, Csv):
            return known
        return Csv(delimiter=delimiter or known.delimiter, null=null or "")
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


@asynccontextmanager
async def _database(settings: Settings) -> AsyncIterator[DataAccessLayer]:
    if settings.database_url is None:
        fail("DATABASE_URL is not set.")
    async with connect_or_exit(settings.database_url.get_secret_value()) as dal:
        if settings.database_schemas:
            await dal.reflect(dal.engine, schemas=settings.database_schemas)
        yield dal


def _run(work: Coroutine[Any, Any, Result]) -> Result:
    """The result of `work`; what is wrong with the file or the data is one line, too."""
    try:
        return run(work)
    except (BulkError, UnknownTable, OSError) as error:
        fail(str(error))
    except (DBAPIError, asyncpg.PostgresError) as error:
        fault = fault_of(error)
        if fault is None:
            raise
        fail(" ".join([fault.detail, *map(repr, fault.columns)]))


@contextmanager
def _progress(size: int | None) -> Iterator[Callable[[int], object]]:
    """A bar on standard error, if that is a terminal."""
    console = Console(stderr=True)
    columns = (BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        yield partial(bar.advance, bar.add_task("", total=size))
