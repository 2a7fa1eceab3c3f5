"""A server that cannot work with its database's schema ends with one sentence."""

import os
import subprocess
import sys

import asyncpg
import pytest

from tests.paths import PROJECT

pytestmark = pytest.mark.slow

UVICORN = ("uvicorn", "tests.service.main:app", "--port", "0")
SERVE = ("tests.service.cli", "serve", "--port", "0")


def start(*arguments: str, database_url: str) -> subprocess.CompletedProcess[str]:
    environment = {"DATABASE_URL": database_url, "ENVIRONMENT": "testing", "LOG_FORMAT": "json"}
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=PROJECT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


@pytest.fixture
async def misfit(fresh_database: str) -> str:
    """The URL of a database that is at this code's revision, without a column of it."""
    connection = await asyncpg.connect(fresh_database)
    await connection.execute("ALTER TABLE book DROP COLUMN price CASCADE")
    await connection.close()
    return fresh_database


@pytest.mark.parametrize("command", [UVICORN, SERVE, (*UVICORN, "--loop", "asyncio")])
async def test_models_that_do_not_fit_are_one_line_each_and_no_traceback(
    misfit: str, command: tuple[str, ...]
) -> None:
    result = start(*command, database_url=misfit)
    assert result.returncode == 1
    output = result.stdout + result.stderr
    assert "The models do not fit the database:\n- Book.price: " in result.stderr
    assert "Traceback" not in output
    assert "EntityMismatch" not in output


@pytest.mark.parametrize("command", [UVICORN, SERVE])
@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://u:hunter2@h/n", "DATABASE_URL: The database URL starts with mysql://"),
        ("postgresql://u:hunter2@x@h/n", "DATABASE_URL: The database URL cannot be parsed."),
    ],
)
def test_a_bad_url_is_one_sentence(command: tuple[str, ...], url: str, message: str) -> None:
    result = start(*command, database_url=url)
    assert result.returncode == 1
    first, sentence = result.stderr.splitlines()
    assert first == "The configuration cannot be used."
    assert sentence.strip().startswith(message)
    assert "hunter2" not in result.stdout + result.stderr


WORKERS = (*SERVE, "--workers", "2")


async def test_models_that_do_not_fit_end_all_workers(misfit: str) -> None:
    result = start(*WORKERS, database_url=misfit)
    assert result.returncode != 0
    assert "The models do not fit the database:\n- Book.price: " in result.stderr
    assert "Traceback" not in result.stdout + result.stderr


def test_a_bad_setting_starts_no_worker() -> None:
    result = start(*WORKERS, database_url="mysql://u:hunter2@h/n")
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 2
    assert "DATABASE_URL: The database URL starts with mysql://" in result.stderr
