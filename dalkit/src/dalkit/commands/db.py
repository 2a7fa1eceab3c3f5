"""Commands for the database's schema."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from ..schema.expected import Status, typed_here
from ..settings import Settings
from . import fail, run

STATUS = {
    Status.UP_TO_DATE: (0, "The database is up to date."),
    Status.UPGRADE_AVAILABLE: (3, "The database is behind the migrations: run `{}`."),
    Status.NO_INFO: (4, "The database has no schema yet: run `{}`."),
}


def db_commands(settings: Callable[[], Settings], tables: Path) -> typer.Typer:
    """Return the group `db`; `tables` is the file of typed tables."""
    app = typer.Typer(help="Create, upgrade and inspect the schema.", no_args_is_help=True)

    @app.command("sync")
    def sync_command() -> None:
        """Create the schema or upgrade it to the newest migration.

        With ENVIRONMENT=local the typed tables are written again if they are behind it.
        """
        from ..schema.manager import SYNCED, sync

        config = settings()
        typer.echo(SYNCED[run(sync(config))])
        if config.environment == "local" and _bring_up_to_date(config, tables):
            typer.echo(f"Wrote {tables}, which was behind the database.")

    @app.command("status")
    def status_command(context: typer.Context) -> None:
        """Say whether an upgrade is due; exit status 0 if not, 3 if so, 4 without a schema."""
        from ..schema.manager import status

        code, message = STATUS[run(status(settings()))]
        typer.echo(message.format(_typed(context, "migrate", "sync")))
        raise typer.Exit(code)

    @app.command("tables")
    def tables_command(
        context: typer.Context,
        output: Annotated[Path, typer.Option(help="The file to write.")] = tables,
        check: Annotated[
            bool, typer.Option("--check", help="Only compare; 1 if it differs.")
        ] = False,
    ) -> None:
        """Write the typed tables from the migrated database, formatted where ruff is installed."""
        text = run(_render(settings()))
        if text is None:
            fail(
                f"The database is not up to date: run `{_typed(context, 'migrate', 'sync')}` first."
            )
        if not check:
            _write(output, text)
            typer.echo(f"Wrote {output}.")
        elif not output.exists() or output.read_text("utf-8") != text:
            how = _typed(context, "db ARGS=tables", "tables")
            fail(f"{output} is not what the database has: run `{how}`.")

    return app


def _typed(context: typer.Context, target: str, command: str) -> str:
    return typed_here(target, f"{context.find_root().info_name} db {command}")


async def _render(config: Settings) -> str | None:
    """The text of the typed tables; None when the database is behind the migrations."""
    from ..schema import typed_tables
    from ..schema.manager import manager_from_config

    manager = manager_from_config(config)
    if await manager.status() is not Status.UP_TO_DATE:
        return None
    async with manager.migration_connection() as connection:
        return await connection.run_sync(typed_tables.render, config.database_schemas or [None])


def _bring_up_to_date(config: Settings, tables: Path) -> bool:
    """Write the typed tables if they were written from an earlier revision; return whether.

    Those of this revision stay as they are: whoever edited them is about to propose a migration.
    """
    from ..schema import typed_tables

    written = typed_tables.revision_in(tables.read_text("utf-8")) if tables.exists() else None
    text = run(_render(config)) if written else None
    if text is None or typed_tables.revision_in(text) == written:
        return False
    _write(tables, text)
    return True


def _write(path: Path, text: str) -> None:
    from ..schema import typed_tables

    try:
        typed_tables.write(path, text)
    except OSError as error:
        fail(f"{path} cannot be written: {error.strerror}.")
