"""`dalkit run`: a database and an issuer if none is configured, migrations, the app with reload."""

import asyncio
import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from threading import Event, Thread
from typing import cast

import asyncpg

from ..server import serve
from .postgres import STOP_SIGNALS, PostgresError, RunFolder, cluster, discard, end_with
from .project import Project
from .welcome import HOST, welcome

PYTHON = (sys.executable, "-m")


def exit_with(action: Callable[[], int | None]) -> None:
    """Exit with the status that `action` returns; a signal to stop interrupts it."""

    def interrupt(*_: object) -> None:
        for number in STOP_SIGNALS:  # told again, it must not interrupt the tidying up
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in STOP_SIGNALS:
        signal.signal(number, interrupt)
    try:
        sys.exit(action())
    except PostgresError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        pass


def run(project: Project, port: int, seed: str | None) -> int:
    """Start everything in order and return the exit status of the app, or of what failed before.

    `seed` is the SQL to run after the migrations.
    """
    environment = project.environment() | {"PORT": str(port)}
    with ExitStack() as stack:
        for service in (database, token_issuer):
            environment |= stack.enter_context(service(project, environment))
        # What fails ends the server before the gate is opened, or it would start all the same.
        with gate(project, port) as closed, ExitStack() as starting:
            app = f"{project.package}.main:app"
            command = [*PYTHON, "dalkit.dev.run", app, str(port), str(os.getpid()), str(closed)]
            server = starting.enter_context(running(project, command, environment))
            migrate = [*PYTHON, f"{project.package}.cli", "db", "sync"]
            with running(project, migrate, environment) as migration:
                if seed:  # it takes as long, so it is imported meanwhile
                    import_module("dalkit.data.engine")
                if status := migration.wait():
                    return status
            if seed:
                run_sql(environment["DATABASE_URL"], seed)
            stack.enter_context(starting.pop_all())
        if not project.environment().get("DATABASE_URL"):
            Thread(target=end_with_database, args=(project, server), daemon=True).start()
        stack.enter_context(welcomed(project, port, shown_database(project, environment)))
        return server.wait()


def end_with_database(project: Project, server: subprocess.Popen[bytes]) -> None:
    """End the server when the project's own PostgreSQL has ended: no other gets its port."""
    RunFolder(project.data_dir.absolute()).wait_for_end()
    server.terminate()


@contextmanager
def gate(project: Project, port: int) -> Iterator[Path]:
    """Keep a lock meanwhile on the file that is yielded; the service starts when it is released.

    So that what the service imports, which takes as long as the migrations, is imported meanwhile.
    """
    path = project.folder / ".cache" / "gates" / str(port)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield path


def shown_database(project: Project, environment: Mapping[str, str]) -> str:
    """Return the URL of the project's own database; that of another one may have a password."""
    is_configured = bool(project.environment().get("DATABASE_URL"))
    return "that of DATABASE_URL" if is_configured else environment["DATABASE_URL"]


@contextmanager
def welcomed(project: Project, port: int, database: str) -> Iterator[None]:
    """Say where the service is as soon as it answers, unless it ends before."""
    stopped = Event()
    Thread(target=welcome, args=(project, port, database, stopped), daemon=True).start()
    try:
        yield
    finally:
        stopped.set()


def run_with_database(project: Project, command: list[str]) -> int:
    """Return the exit status of the command, 127 when there is none of that name."""
    environment = project.environment()
    # The standard output is the command's.
    with redirect_stdout(sys.stderr), database(project, environment) as added:
        try:
            return execute(project, command, environment | added)
        except OSError as error:
            print(f"{command[0]}: {error.strerror}", file=sys.stderr)
            return 127


def reset(project: Project) -> int:
    """Throw the project's own database away, and say so; raises PostgresError while it is used."""
    if project.environment().get("DATABASE_URL"):
        sys.exit(
            "DATABASE_URL is set, and that database is not thrown away: unset it, also in .env,"
            " to mean the one of `make run`."
        )
    was = "is gone" if discard(project.data_dir) else "was not there"
    print(f"The database of `make run` {was}; the next `make run` begins with an empty one.")
    return 0


def read_seed(project: Project) -> str:
    """Return the SQL of the project's seed file; exits with a sentence when there is none."""
    if project.seed is None:
        sys.exit("No rows to insert: name a file of SQL as seed in pyproject.toml's [tool.dalkit].")
    try:
        return (project.folder / project.seed).read_text("utf-8")
    except OSError as error:
        sys.exit(f"The seed of [tool.dalkit], {error.filename}, cannot be read: {error.strerror}.")


def require_free_port(port: int) -> None:
    """Exit with a sentence when nothing can listen on `port`."""
    try:
        socket.create_server((HOST, port)).close()
    except OSError as error:
        why = os.strerror(error.errno or 0)
        sys.exit(f"Port {port} cannot be used ({why}): choose another, make run PORT=8001")


@contextmanager
def database(project: Project, environment: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Run or share the project's own PostgreSQL unless DATABASE_URL names one."""
    if environment.get("DATABASE_URL"):
        yield {}
        return

    def announce() -> None:
        print(f"  PostgreSQL: starting, with its data in {project.data_dir}", flush=True)

    with cluster(project.data_dir, announce=announce) as it:
        create_database(it.url("postgres"), project.database)
        yield {"DATABASE_URL": it.url(project.database)}


@contextmanager
def token_issuer(project: Project, environment: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Run an issuer, unless one is configured; yield what makes the service accept its tokens."""
    configured = environment.get("AUTH0_DOMAIN") or environment.get("AUTH0_DEV_ISSUER")
    if configured or find_spec("jwt") is None:
        yield {}
        return
    from .issuer import AUDIENCE, issuer, published  # noqa: PLC0415 - needs the extra auth0

    port, audience = environment["PORT"], environment.get("AUTH0_AUDIENCE") or AUDIENCE
    with issuer(audience) as it, published(project, port, it.url):
        yield {
            "AUTH0_DEV_ISSUER": it.url,
            "AUTH0_AUDIENCE": it.audience,
            "AUTH0_CLIENT_ID": environment.get("AUTH0_CLIENT_ID") or "docs",
        }


def create_database(server_url: str, name: str) -> None:
    """Create the database `name` unless it exists."""

    async def create() -> None:
        connection = await asyncpg.connect(server_url)
        try:
            if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
                await connection.execute(f'CREATE DATABASE "{name}"')
        finally:
            await connection.close()

    asyncio.run(create())


def run_sql(url: str, sql: str) -> None:
    """Run statements in one transaction; exits with a sentence when one of them is refused."""
    from ..data.engine import create_engine  # noqa: PLC0415 - takes a second, and is rarely needed

    async def run() -> None:
        engine = create_engine(url)
        try:
            async with engine.connect() as connection:
                driver = (await connection.get_raw_connection()).driver_connection
                # asyncpg fails on a text without a statement, which a seed of comments is.
                await cast(asyncpg.Connection, driver).execute(f"SELECT;\n{sql}")
        except asyncpg.PostgresError as error:
            sys.exit(f"The seed was refused: {error}")
        finally:
            await engine.dispose()

    asyncio.run(run())


def execute(project: Project, command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run `command` to its end and return its exit status; a signal that ends us ends it too."""
    with running(project, command, environment) as process:
        return process.wait()


@contextmanager
def running(
    project: Project, command: Sequence[str], environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `command` meanwhile, and end it."""
    process = subprocess.Popen(command, cwd=project.folder, env=environment)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    """Serve with reload, in a process of its own: python -m dalkit.dev.run APP PORT PARENT GATE."""
    app, port, parent = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    end_with(parent)
    folders = ("src", "migrations", app.split(".")[0])
    watched = [folder for folder in folders if Path(folder).is_dir()]
    serve(app, port=port, reload_dirs=watched, timeout_graceful_shutdown=5)


def pass_gate(app: str, path: Path) -> None:
    """Import the app, and wait until nobody holds the lock on the file."""
    with suppress(Exception, SystemExit):  # uvicorn imports it again, and says what is wrong
        import_module(app.partition(":")[0])
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)


if __name__ == "__main__":
    main()
elif __name__ == "__mp_main__":  # the reloader's worker, which multiprocessing starts from here
    end_with(os.getppid())
    pass_gate(sys.argv[1], Path(sys.argv[4]))
