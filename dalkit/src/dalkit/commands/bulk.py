"""The group `bulk`; what its commands do is in copying.py, which few processes import."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from ..settings import Settings

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
        from . import copying

        copying.load_file(settings, table, file, update, delimiter, null)

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
        from . import copying

        copying.export_file(settings, table, file, delimiter, null)

    return app
