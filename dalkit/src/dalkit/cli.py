"""The console scripts: `dalkit` for development, and what a service's own is made of."""

from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from . import server
from .commands.bulk import bulk_commands
from .commands.db import db_commands
from .settings import Settings, load

Port = Annotated[int, typer.Option(envvar="PORT", min=0, max=65535)]


def service_cli(package: str, settings: type[Settings]) -> typer.Typer:
    """Return the commands of the service in `package`: `serve`, and the groups `db` and `bulk`.

    Add your own with `@app.command()` and `app.add_typer(...)`.
    """
    app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
    read = partial(load, settings)
    folder = Path(import_module(package).__path__[0])
    app.add_typer(db_commands(read, folder / "tables.py"), name="db")
    app.add_typer(bulk_commands(read), name="bulk")

    @app.command()
    def serve(
        host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = (
            "127.0.0.1"
        ),
        port: Port = 8000,
        reload: Annotated[bool, typer.Option(help="Restart when the source changes.")] = False,
        workers: Annotated[int, typer.Option(min=1, help="Processes; each has its own pool.")] = 1,
    ) -> None:
        """Serve the application."""
        if reload and workers > 1:
            raise typer.BadParameter("--reload serves with one worker only.")
        server.serve(
            f"{package}.main:app",
            host=host,
            port=port,
            workers=workers,
            reload_dirs=[str(folder)] if reload else [],
        )

    return app


main = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Development tools; run them in the folder of a service.",
)


@main.command()
def run(
    port: Port = 8000,
    seed: Annotated[bool, typer.Option("--seed", help="Insert the rows of the seed file.")] = False,
) -> None:
    """Serve with reload, on a Postgres of the project's own unless DATABASE_URL is set."""
    from .dev import project
    from .dev import run as dev_run

    found = project.find_project()
    dev_run.require_free_port(port)
    dev_run.exit_with(lambda: dev_run.run(found, port, seed))


@main.command("with-database", context_settings={"ignore_unknown_options": True})
def with_database(command: Annotated[list[str], typer.Argument()]) -> None:
    """Run a command on the database of `dalkit run`."""
    from .dev import project
    from .dev import run as dev_run
    from .dev import with_database as dev_with_database

    found = project.find_project()
    dev_run.exit_with(lambda: dev_with_database.execute(found, command))


@main.command()
def token(
    scopes: Annotated[list[str] | None, typer.Argument(help="For example read:books.")] = None,
    port: Annotated[
        str | None,
        typer.Option(
            envvar="PORT", help="Of the service; default: PORT, or whichever was started first."
        ),
    ] = None,
) -> None:
    """Print an access token of the issuer that `dalkit run` started."""
    from .dev.issuer.token import print_token
    from .dev.project import find_project

    print_token(find_project(), " ".join(scopes or []).split(), port)


@main.command("remove-resource")
def remove_resource(names: Annotated[list[str], typer.Argument(help="For example books.")]) -> None:
    """Delete resources with their tests, and take their words out of app.py; tables stay."""
    from .dev import project, scaffold

    scaffold.remove_resources(project.find_project(), names)


@main.command("delete-example")
def delete_example() -> None:
    """Delete the example's resources with their tables, migration, tests and rows."""
    from .dev import project, scaffold

    scaffold.delete_example(project.find_project())
