"""`dalkit run`: a database and an issuer if none is configured, migrations, the app with reload."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec

from dotenv import dotenv_values

from .database import create_database, run_script
from .postgres import STOP_SIGNALS, PostgresError, cluster
from .project import Project

HOST = "127.0.0.1"
PYTHON = (sys.executable, "-m")


def exit_with(action: Callable[[], int]) -> None:
    """Exit with the status that `action` returns; a signal to stop interrupts it."""
    for number in STOP_SIGNALS:
        signal.signal(number, interrupt)
    try:
        sys.exit(action())
    except PostgresError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        pass


def run(project: Project, port: int, seed: bool) -> int:
    """Start everything in order and return the exit status of the app, or of what failed before.

    Each step sees the variables of the services that were started before it, and PORT.
    """
    environment = read_environment(project) | {"PORT": str(port)}
    with ExitStack() as stack:
        for service in (database, token_issuer):
            environment |= stack.enter_context(service(project, environment))
        status = execute(project, [*PYTHON, f"{project.package}.cli", "db", "sync"], environment)
        if status:
            return status
        if seed and project.seed:
            run_script(environment["DATABASE_URL"], (project.folder / project.seed).read_text())
        print(f"  the API: http://{HOST}:{port}/docs   stop with Ctrl-C", flush=True)
        app = f"{project.package}.main:app"
        serve = [*PYTHON, "dalkit.dev.serve", app, str(port), str(os.getpid())]
        return execute(project, serve, environment)


def require_free_port(port: int) -> None:
    """Exit with a sentence when nothing can listen on `port`."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            sys.exit(f"Port {port} cannot be used ({reason}): choose another, make run PORT=8001")


def interrupt(number: int, _: object) -> None:
    """End the run once; what is told again meanwhile must not interrupt the tidying up."""
    for each in STOP_SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt(number)


def read_environment(project: Project) -> dict[str, str]:
    """Return what the app would see: the process's variables over those of .env."""
    values = dotenv_values(project.folder / ".env").items()
    return {name: value for name, value in values if value is not None} | dict(os.environ)


@contextmanager
def database(project: Project, environment: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
    """Run the project's own PostgreSQL unless DATABASE_URL names one; its data is kept."""
    if environment.get("DATABASE_URL"):
        yield {}
        return
    print(f"  PostgreSQL: starting, with its data in {project.data_dir}", flush=True)
    with cluster(project.data_dir) as it:
        name = project.package.replace(".", "_")
        create_database(it.url("postgres"), name)
        print(f"  PostgreSQL: {it.url(name)}", flush=True)
        yield {"DATABASE_URL": it.url(name)}


@contextmanager
def token_issuer(project: Project, environment: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
    """Run an issuer of access tokens, unless a tenant or an issuer is configured.

    Yields the settings that make the service on PORT accept its tokens.
    """
    configured = environment.get("AUTH0_DOMAIN") or environment.get("AUTH0_DEV_ISSUER")
    if configured or find_spec("jwt") is None:
        yield {}
        return
    from .issuer import AUDIENCE, issuer, published  # noqa: PLC0415 - needs the extra auth0

    port = environment["PORT"]
    audience = environment.get("AUTH0_AUDIENCE") or AUDIENCE
    with issuer(audience) as it, published(project, port, it.url):
        make = f"make -s -C {shlex.quote(str(project.folder))} token PORT={port}"
        print(f'  a token: {make} SCOPES="read:books write:books"  (or Authorize in /docs)')
        yield {
            "AUTH0_DEV_ISSUER": it.url,
            "AUTH0_AUDIENCE": it.audience,
            "AUTH0_CLIENT_ID": environment.get("AUTH0_CLIENT_ID") or "docs",
        }


def execute(project: Project, command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run `command` to its end and return its exit status; a signal that ends us ends it too."""
    process = subprocess.Popen(command, cwd=project.folder, env=environment)
    try:
        return process.wait()
    finally:
        process.terminate()
        process.wait()
