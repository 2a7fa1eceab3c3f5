"""Commands for the database's schema."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from ..schema import typed_tables
from ..schema.sync import Status, SyncResult, manager_from_config, status, sync
from ..settings import Settings
from .run import CommandFailedError, run

SYNCED = {
    SyncResult.CREATED: "The database was created.",
    SyncResult.UPGRADED: "The database was upgraded.",
    SyncResult.ALREADY_UP_TO_DATE: "The database was already up to date.",
}
STATUS = {
    Status.UP_TO_DATE: (0, "The database is up to date."),
    Status.UPGRADE_AVAILABLE: (3, "The database is behind the migrations: run `db sync`."),
    Status.NO_INFO: (4, "The database has no schema yet: run `db sync`."),
}


def db_commands(settings: Callable[[], Settings], tables: Path) -> typer.Typer:
    """Return the group `db`; `tables` is the file of typed tables."""
    app = typer.Typer(help="Create, upgrade and inspect the schema.", no_args_is_help=True)

    @app.command("sync")
    def sync_command() -> None:
        """Create the schema or upgrade it to the newest migration."""
        typer.echo(SYNCED[run(sync(settings()))])

    @app.command("status")
    def status_command() -> None:
        """Say whether an upgrade is due; exit status 0 if not, 3 if so, 4 without a schema."""
        code, message = STATUS[run(status(settings()))]
        typer.echo(message)
        raise typer.Exit(code)

    @app.command("tables")
    def tables_command(
        output: Annotated[Path, typer.Option(help="The file to write.")] = tables,
        check: Annotated[
            bool, typer.Option("--check", help="Only compare; 1 if it differs.")
        ] = False,
    ) -> None:
        """Write the typed tables from the migrated database."""
        text = run(_render(settings()))
        if check and (not output.exists() or output.read_text("utf-8") != text):
            typer.echo(f"{output} is not what the database has: run `db tables`.", err=True)
            raise typer.Exit(1)
        if not check:
            output.write_text(text, "utf-8")
            typer.echo(f"Wrote {output}.")

    return app


async def _render(settings: Settings) -> str:
    manager = manager_from_config(settings)
    if await manager.status() is not Status.UP_TO_DATE:
        raise CommandFailedError("The database is behind the migrations: run `db sync` first.")
    async with manager.migration_connection() as connection:
        return await connection.run_sync(typed_tables.render, settings.database_schemas or [None])
