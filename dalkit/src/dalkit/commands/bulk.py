"""Commands that load and export files with COPY."""

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Annotated

import asyncpg
import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeElapsedColumn
from sqlalchemy import Table, select
from sqlalchemy.exc import DBAPIError

from .. import DataAccessLayer, UnknownTable, connect_or_exit
from ..bulk import (
    CSV,
    BulkError,
    Counts,
    Csv,
    Format,
    columns_of,
    export,
    format_of_path,
    insert_from,
    load,
)
from ..data.faults import fault_of
from ..settings import Settings
from . import CommandFailedError, run

Advance = Callable[[int], object]

TableName = Annotated[str, typer.Argument(help="`table` or `schema.table`.")]
Delimiter = Annotated[str | None, typer.Option(help="Between the values of a CSV file.")]
Null = Annotated[str | None, typer.Option(help="What stands for NULL in a CSV file.")]


def bulk_commands(settings: Callable[[], Settings]) -> typer.Typer:
    """Return the group `bulk`."""
    app = typer.Typer(help="Load and export files with COPY.", no_args_is_help=True)

    @app.command("load")
    def load_command(
        table: TableName,
        file: Annotated[
            Path, typer.Argument(exists=True, dir_okay=False, help=".csv, .tsv, .jsonl")
        ],
        update: Annotated[
            str | None,
            typer.Option(
                help="Change rows that are there already: the unique constraint to go by."
            ),
        ] = None,
        delimiter: Delimiter = None,
        null: Null = None,
    ) -> None:
        """Insert the rows of a file into a table, in one transaction."""
        with _failures():
            file_format = _format(file, delimiter, null)
            with _progress(file.stat().st_size) as advance:
                counts = run(_load(settings(), table, file, file_format, update, advance))
        parts = (f"{number} {name}" for name, number in vars(counts).items())
        typer.echo(f"{table}: {', '.join(parts)}.")

    @app.command("export")
    def export_command(
        table: TableName,
        file: Annotated[
            Path, typer.Argument(dir_okay=False, help=".csv, .tsv, .jsonl, or - (CSV)")
        ],
        delimiter: Delimiter = None,
        null: Null = None,
    ) -> None:
        """Write the rows of a table or view to a file."""
        to_stdout = str(file) == "-"
        file_format = _format(Path("-.csv") if to_stdout else file, delimiter, null)
        with _failures(), _progress(None) as advance:
            rows = run(
                _export(settings(), table, None if to_stdout else file, file_format, advance)
            )
        typer.echo(f"{table}: {rows} exported.", err=True)

    return app


async def _load(
    settings: Settings,
    name: str,
    file: Path,
    file_format: Format,
    update: str | None,
    advance: Advance,
) -> Counts:
    named = await columns_of(file, file_format)
    async with _database(settings) as dal, dal.transaction() as transaction:
        table = dal.get_table(name)
        conflict = _columns_of_constraint(dal, table, update) if update else ()
        return await load(
            transaction,
            file,
            lambda staging: insert_from(staging, table, conflict),
            like=table,
            names=_written(table, named),
            file_format=file_format,
            progress=advance,
        )


async def _export(
    settings: Settings, name: str, file: Path | None, file_format: Format, advance: Advance
) -> int:
    async with _database(settings) as dal, dal.transaction(readonly=True) as transaction:
        rows = select(dal.get_table(name))
        target = file or sys.stdout.buffer
        return await export(transaction, rows, target, file_format=file_format, progress=advance)


def _written(table: Table, named: list[str]) -> list[str]:
    """The table's columns among the named ones; COPY's check of the file names the others."""
    for name in named:
        column = table.c.get(name)
        identity = None if column is None else column.identity
        if column is not None and (column.computed is not None or (identity and identity.always)):
            raise CommandFailedError(f"{table.name}.{name} is always generated: leave it out.")
    return [name for name in dict.fromkeys(named) if name in table.c]


def _columns_of_constraint(dal: DataAccessLayer, table: Table, name: str) -> tuple[str, ...]:
    constraints = dal.unique_constraints(table)
    if name not in constraints:
        known = ", ".join(constraints) or "none"
        raise CommandFailedError(f"No unique constraint {name!r} on {table.name}; it has: {known}.")
    return constraints[name]


def _format(file: Path, delimiter: str | None, null: str | None) -> Format:
    try:
        known = format_of_path(file)
        if not isinstance(known, Csv):
            return known
        return Csv(delimiter=delimiter or known.delimiter, null=CSV.null if null is None else null)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


@asynccontextmanager
async def _database(settings: Settings) -> AsyncIterator[DataAccessLayer]:
    if settings.database_url is None:
        raise CommandFailedError("DATABASE_URL is not set.")
    url = settings.database_url.get_secret_value()
    async with connect_or_exit(url) as dal:
        if settings.database_schemas:
            await dal.reflect(dal.engine, schemas=settings.database_schemas)
        yield dal


@contextmanager
def _failures() -> Iterator[None]:
    """One line for what is wrong with the file or the data."""
    try:
        yield
    except (BulkError, UnknownTable, OSError) as error:
        message = str(error)
    except (DBAPIError, asyncpg.PostgresError) as error:
        fault = fault_of(error)
        if fault is None:
            raise
        message = " ".join([fault.detail, *map(repr, fault.columns)])
    else:
        return
    typer.echo(message, err=True)
    raise typer.Exit(1)


@contextmanager
def _progress(size: int | None) -> Iterator[Advance]:
    """A bar on standard error, if that is a terminal."""
    console = Console(stderr=True)
    columns = (BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("", total=size)
        yield lambda bytes_: bar.advance(task, bytes_)
