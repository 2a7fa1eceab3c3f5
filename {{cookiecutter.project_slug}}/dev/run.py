"""`make run`: a database if none is configured, migrations, the app with reload.

Every module in dev/services/ brings something the app talks to in production, such as an issuer
of tokens: `service(environment)` is a context manager that runs it and yields the environment
variables by which the app finds it.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from dotenv import dotenv_values

from dev.database import create_database
from dev.postgres import PostgresError, cluster

PACKAGE = "{{ cookiecutter.__package_name }}"
PROJECT = Path(__file__).resolve().parents[1]
DATA_DIR = PROJECT / ".postgres" / "data"
HOST = "127.0.0.1"
PYTHON = (sys.executable, "-m")
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Service = Callable[[Mapping[str, str]], AbstractContextManager[Mapping[str, str]]]


def main() -> None:
    """Serve until Ctrl-C, SIGTERM or SIGHUP."""
    parser = argparse.ArgumentParser(prog="python -m dev.run", description=main.__doc__)
    parser.add_argument("--port", type=int, default=os.environ.get("PORT", "8000"))
    parser.add_argument("--seed", action="store_true", help="insert a few authors and books")
    arguments = parser.parse_args()
    require_free_port(arguments.port)
    exit_with(lambda: run(arguments.port, arguments.seed))


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


def run(port: int, seed: bool) -> int:
    """Start everything in order and return the exit status of the app, or of what failed before.

    Each step sees the variables of the services that were started before it, and PORT.
    """
    environment = read_environment() | {"PORT": str(port)}
    with ExitStack() as stack:
        for service in (database, *other_services()):
            environment |= stack.enter_context(service(environment))
        steps = [[f"{PACKAGE}.cli", "db", "sync"], *([["dev.seed"]] if seed else [])]
        for step in steps:
            if status := execute([*PYTHON, *step], environment):
                return status
        print(f"  the API: http://{HOST}:{port}/docs   stop with Ctrl-C", flush=True)
        return execute([*PYTHON, "dev.serve", str(port), str(os.getpid())], environment)


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


def read_environment() -> dict[str, str]:
    """Return what the app would see: the process's variables over those of .env."""
    values = dotenv_values(PROJECT / ".env").items()
    return {name: value for name, value in values if value is not None} | dict(os.environ)


@contextmanager
def database(environment: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
    """Run the project's own PostgreSQL unless DATABASE_URL names one; its data is kept."""
    if environment.get("DATABASE_URL"):
        yield {}
        return
    print(f"  PostgreSQL: starting, with its data in {DATA_DIR}", flush=True)
    with cluster(DATA_DIR) as it:
        create_database(it.url("postgres"), PACKAGE)
        print(f"  PostgreSQL: {it.url(PACKAGE)}", flush=True)
        yield {"DATABASE_URL": it.url(PACKAGE)}


def other_services() -> Iterator[Service]:
    """Yield `service` of every module in dev/services/."""
    for path in sorted((PROJECT / "dev" / "services").glob("[!_]*.py")):
        yield importlib.import_module(f"dev.services.{path.stem}").service


def execute(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run `command` to its end and return its exit status; a signal that ends us ends it too."""
    process = subprocess.Popen(command, cwd=PROJECT, env=environment)
    try:
        return process.wait()
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
