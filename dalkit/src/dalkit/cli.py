"""The console scripts: `dalkit` for development, and what a service's own is made of."""

import sys
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from .settings import Settings

__all__ = ["service_cli"]

Port = Annotated[int, typer.Option(envvar="PORT", min=0, max=65535)]
commands = partial(
    typer.Typer, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)


def service_cli(settings: type["Settings"]) -> typer.Typer:
    """Return the commands of the service: `serve`, `openapi`, `db ...`, `bulk ...`.

    Its package is the one that the class `settings` is written in: `main:app` there is what is
    served, `app:create_app` makes what `openapi` describes. Add commands of your own with
    `@app.command()` and `app.add_typer(...)`.
    """
    from .commands.bulk import bulk_commands
    from .commands.db import db_commands
    from .commands.openapi import openapi_command
    from .settings import load

    package = settings.__module__.rpartition(".")[0]
    folder = Path(import_module(package).__path__[0])
    app, read = commands(), partial(load, settings)
    app.add_typer(db_commands(read, folder / "tables.py"), name="db")
    app.add_typer(bulk_commands(read), name="bulk")
    app.command()(openapi_command(settings, package))

    @app.command()
    def serve(
        host: Annotated[
            str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")
        ] = "127.0.0.1",
        port: Port = 8000,
        reload: Annotated[bool, typer.Option(help="Restart when the source changes.")] = False,
        workers: Annotated[int, typer.Option(min=1, help="Processes; each has its own pool.")] = 1,
    ) -> None:
        """Serve the application."""
        from . import server
        from .collector import collect_rarely

        collect_rarely()  # what is served is about to be imported
        if reload and workers > 1:
            raise typer.BadParameter("--reload serves with one worker only.")
        watched = [str(folder)] if reload else []
        if not reload:
            from . import capacity

            capacity.warn(read(), workers)
        application = f"{package}.main:app"
        server.serve(application, host=host, port=port, workers=workers, reload_dirs=watched)

    return app


main = commands(help="Development tools; run them in the folder of a service.")


@main.command()
def run(
    port: Port = 8000,
    seed: Annotated[bool, typer.Option("--seed", help="Insert the rows of the seed file.")] = False,
) -> None:
    """Serve with reload, on a Postgres of the project's own unless DATABASE_URL is set."""
    from .dev import project, run

    it = project.find_project()
    run.require_free_port(port)
    sql = run.read_seed(it) if seed else None
    run.exit_with(lambda: run.run(it, port, sql))


@main.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
def with_database(command: Annotated[list[str], typer.Argument()]) -> None:
    """Run a command on the database of `dalkit run`."""
    from .dev import project, run

    it = project.find_project()
    run.exit_with(lambda: run.run_with_database(it, command))


@main.command()
def postgres(
    data_dir: Annotated[
        Path | None, typer.Option(help="Default: the data of `dalkit run`.", show_default=False)
    ] = None,
) -> None:
    """Run PostgreSQL until Ctrl-C, and print its URL."""
    from .dev import postgres, project

    postgres.serve(data_dir or project.find_project().data_dir)


@main.command()
def issuer(
    url: Annotated[
        str, typer.Option(envvar="AUTH0_DEV_ISSUER", help="Which it has; it listens on the port.")
    ] = "http://127.0.0.1:9000/",
    audience: Annotated[
        str, typer.Option(envvar="AUTH0_AUDIENCE", help="The API that tokens are for.")
    ] = "https://api.example.com",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Serve an issuer of access tokens for development: whoever reaches it gets what they ask."""
    from .extras import MissingExtra

    try:
        from .dev import issuer
    except MissingExtra as error:
        sys.exit(str(error))
    issuer.serve(url, audience, host)


@main.command()
def token(
    scopes: Annotated[list[str] | None, typer.Argument(help="Default: all there are.")] = None,
    port: Annotated[
        str | None,
        typer.Option(
            envvar="PORT", help="Of the service; default: PORT, or whichever was started first."
        ),
    ] = None,
) -> None:
    """Print an access token of the issuer that `dalkit run` started."""
    from .dev import project, token

    it = project.find_project()
    token.print_token(it, " ".join(scopes or []).split() or it.scopes, port)


resource = commands(help="Write a resource for a table, and take one away.")
main.add_typer(resource, name="resource")


@resource.command()
def add(
    tables: Annotated[list[str], typer.Argument(help="publisher, or billing.invoice; a view too.")],
    name: Annotated[
        str | None, typer.Option(help="Of the package; default: the table's name in the plural.")
    ] = None,
    key: Annotated[str, typer.Option(help="Of a view: what tells its rows apart, `a,b`.")] = "",
) -> None:
    """Write the resource of a table as the migrations make it: models, routes, tests, scopes."""
    from .dev import project, scaffold

    columns = [column.strip() for column in key.split(",") if column.strip()]
    scaffold.add_resources(project.find_project(), tables, name or None, columns)


@resource.command()
def remove(names: Annotated[list[str], typer.Argument(help="For example books.")]) -> None:
    """Delete resources with their tests, and take their words out of app.py; tables stay."""
    from .dev import project, scaffold

    scaffold.remove_resources(project.find_project(), names)


@main.command()
def delete_example() -> None:
    """Delete the example's resources with their tables, migration, tests and rows."""
    from .dev import project, run, scaffold

    it = project.find_project()
    run.exit_with(lambda: scaffold.delete_example(it))


@main.command()
def reset() -> None:
    """Throw the database of `dalkit run` away."""
    from .dev import project, run

    it = project.find_project()
    run.exit_with(lambda: run.reset(it))


@main.command()
def check_migrations() -> None:
    """Migrate an empty database up, down and up again, and compare it with tables.py."""
    from .dev import migrations, project, run

    it = project.find_project()
    run.exit_with(lambda: migrations.check(it))


@main.command()
def lint_migrations(
    base: Annotated[
        str | None,
        typer.Option(envvar="MIGRATIONS_BASE", help="A commit; default: the main branch."),
    ] = None,
) -> None:
    """Let squawk read the SQL of the migrations that the main branch does not have."""
    from .dev import migrations, project, run

    it = project.find_project()
    run.exit_with(lambda: migrations.lint(it, base or None))


@main.command()
def update(
    version: Annotated[
        str | None, typer.Argument(help="A tag, branch or commit; default: the newest release.")
    ] = None,
    template: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Where the template is now.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--from", metavar="VERSION", help="What the service is of now.")
    ] = None,
    discard_edits: Annotated[
        bool, typer.Option("--discard-edits", help="Replace an edited packages/dalkit, too.")
    ] = False,
) -> None:
    """Bring the service to another version of its template: merged, staged, not committed."""
    from .dev import project, update
    from .dev.template import UpdateError

    folder = project.find_project().folder
    try:
        status = update.update(
            folder, version or None, address=template, since=since, discard_edits=discard_edits
        )
    except UpdateError as error:
        sys.exit(str(error))
    raise typer.Exit(status)


@main.command()
def doctor() -> None:
    """Say what is wrong with the installation: an edited packages/dalkit, versions, extras."""
    from .dev import doctor, project

    folder = project.find_project().folder
    problems = doctor.problems_of(folder)
    typer.echo("\n".join(problems or [doctor.verdict_of(folder)]))
    raise typer.Exit(bool(problems))
