"""The fixtures of dalkit.testing, on the small service in tests/service."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from sqlalchemy import URL

os.environ["ALEMBIC_CONFIG"] = str(Path(__file__).parent / "service" / "alembic.ini")

pytest_plugins = [
    "dalkit.testing",
    "tests.entities.fixtures",
    "tests.fast.fixtures",
    "tests.orm.fixtures",
    "tests.schema.fixtures",
    "tests.slack.fixtures",
    "tests.through_pgbouncer",
    "tests.view.fixtures",
]


@pytest.fixture(scope="session")
def create_app() -> Callable[..., FastAPI]:
    """The service that the tests are made for."""
    from tests.service import app

    return app.create_app


@pytest.fixture(scope="session")
async def template_database(template_database: str, server_url: URL) -> str:
    """The library's; a pooler that was led through keeps no connection to it: it is copied."""
    from tests.through_pgbouncer import leave

    await leave(server_url, template_database)
    return template_database


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """Put back the handlers of signals: commands and servers replace them for good."""
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    yield
    for number, handler in before.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)
