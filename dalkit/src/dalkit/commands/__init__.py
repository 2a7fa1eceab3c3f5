"""The groups of commands, and how each of them ends: its result, or one line and status 1."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import typer
from alembic.util import CommandError

from ..data.urls import DatabaseUrlError

Result = TypeVar("Result")


class CommandFailedError(Exception):
    """Ends a command with its message on one line and exit status 1."""


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Return the result of `work`; an expected failure is one line on stderr and exit status 1."""
    try:
        return asyncio.run(work)
    except (CommandFailedError, CommandError, DatabaseUrlError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
