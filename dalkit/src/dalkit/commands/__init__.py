"""The groups of commands, and how each of them ends: its result, or one line and status 1."""

import asyncio
from collections.abc import Coroutine
from typing import Any, NoReturn, TypeVar

import typer

Result = TypeVar("Result")


def fail(message: str) -> NoReturn:
    """End the command with its message on stderr and exit status 1."""
    typer.echo(message, err=True)
    raise typer.Exit(1)


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Return the result of `work`; an expected failure is one line on stderr and exit status 1."""
    from alembic.util import CommandError

    from ..data.urls import DatabaseUrlError

    try:
        return asyncio.run(work)
    except (CommandError, DatabaseUrlError) as error:
        fail(str(error))
