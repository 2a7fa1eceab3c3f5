"""Commands that load and export files with COPY."""

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Annotated, Any

import asyncpg
import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeElapsedColumn
from sqlalchemy import Table, select
from sqlalchemy.exc import DBAPIError

from .. import DataAccessLayer, UnknownTable, connect_or_exit
from ..bulk import BulkError, Counts, Csv, columns_of, export, format_of_path, insert_from, load
from ..data.faults import fault_of
from ..settings import Settings
from . import CommandFailedError, run

TableName = Annotated[str, typer.Argument(help="`table` or `schema.table`.")]
Delimiter = Annotated[str | None, typer.Option(help="Between the values of a CSV file.")]
Null = Annotated[str | None, typer.Option(help="What stands for NULL in a CSV file.")]
Update = Annotated[
    str | None,
    typer.Option(help="Change rows that are there already: the unique constraint to go by."),
]


def bulk_commands(settings: Callable[[], Settings]) -> typer.Typer:
    """Return the group `bulk`."""
    app = typer.Typer(help="Load and export files with COPY.", no_args_is_help=True)

    @app.command("load")
    def load_command(
        table: TableName,
        file: Annotated[
            Path, typer.Argument(exists=True, dir_okay=False, help=".csv, .tsv, .jsonl")
        ],
        update: Update = None,
        delimiter: Delimiter = None,
        null: Null = None,
    ) -> None:
        """Insert the rows of a file into a table, in one transaction."""
        options = {"file_format": _format(file, delimiter, null)}
        with _failures(), _progress(file.stat().st_size) as options["progress"]:
            counts = run(_load(settings(), table, file, update, options))
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
        options = {"file_format": _format(Path("-.csv") if to_stdout else file, delimiter, null)}
        with _failures(), _progress(None) as options["progress"]:
            target = sys.stdout.buffer if to_stdout else file
            rows = run(_export(settings(), table, target, options))
        typer.echo(f"{table}: {rows} exported.", err=True)

    return app


async def _load(
    settings: Settings, name: str, file: Path, update: str | None, options: dict[str, Any]
) -> Counts:
    named = await columns_of(file, options["file_format"])
    async with _database(settings) as dal, dal.transaction() as transaction:
        table = dal.get_table(name)
        names = _written(table, named)
        known = dal.unique_constraints(table)
        if update and update not in known:
            listed = ", ".join(known) or "none"
            raise CommandFailedError(
                f"No unique constraint {update!r} on {table.name}; it has: {listed}."
            )
        conflict = known[update] if update else ()
        return await load(
            transaction,
            file,
            lambda staging: insert_from(staging, table, conflict),
            like=table,
            names=names,
            **options,
        )


async def _export(settings: Settings, name: str, target: Any, options: dict[str, Any]) -> int:
    async with _database(settings) as dal, dal.transaction(readonly=True) as transaction:
        return await export(transaction, select(dal.get_table(name)), target, **options)


def _written(table: Table, named: list[str]) -> list[str]:
    """The table's columns among the named ones; COPY's check of the file names the others."""
    columns = [table.c[name] for name in dict.fromkeys(named) if name in table.c]
    for column in columns:
        if column.computed is not None or (column.identity and column.identity.always):
            raise CommandFailedError(
                f"{table.name}.{column.name} is always generated: leave it out."
            )
    return [column.name for column in columns]


def _format(file: Path, delimiter: str | None, null: str | None) -> Any:
    try:
        known = format_of_path(file)
        if not isinstance(known, Csv):
            return known
        return Csv(
            delimiter=delimiter or known.delimiter, null=known.null if null is None else null
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


@asynccontextmanager
async def _database(settings: Settings) -> AsyncIterator[DataAccessLayer]:
    if settings.database_url is None:
        raise CommandFailedError("DATABASE_URL is not set.")
    async with connect_or_exit(settings.database_url.get_secret_value()) as dal:
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
def _progress(size: int | None) -> Iterator[Callable[[int], object]]:
    """A bar on standard error, if that is a terminal."""
    console = Console(stderr=True)
    columns = (BarColumn(), DownloadColumn(), TimeElapsedColumn())
    hidden = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task("", total=size)
        yield lambda bytes_: bar.advance(task, bytes_)
