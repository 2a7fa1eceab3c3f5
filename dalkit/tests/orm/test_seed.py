"""Services that were written for sqlalchemy-helpers run with the import changed."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from sqlalchemy import URL
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.schema import CreateTable

from dalkit.orm import AsyncDatabaseManager, manager_from_config, syncdb
from dalkit.schema import SyncError

from tests.orm.seed_app import FILES, write

Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path, empty_database: str) -> Run:
    """Run Python in the folder of the service, and return what it printed."""
    write(tmp_path)

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=os.environ | {"DATABASE_URL": empty_database, "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.mark.slow
def test_the_documented_service_runs(run: Run, tmp_path: Path) -> None:
    alembic = ("-m", "alembic", "-c", "my_fastapi_app/migrations/alembic.ini")
    versions = tmp_path / "my_fastapi_app" / "migrations" / "versions"
    run(*alembic, "revision", "--autogenerate", "-m", "users")
    assert "create_table('users'" in next(versions.glob("*.py")).read_text()
    twice = "from my_fastapi_app.cli import sync; sync(); sync()"
    assert run("-c", twice).splitlines() == [
        "The database was created.",
        "The database was already up to date.",
    ]
    (versions / "0002_view.py").write_text(
        'revision = "0002"\ndown_revision = "0001"\n\n\ndef upgrade():\n    pass\n'
    )
    assert run("questions.py").splitlines() == [
        "The database was upgraded.",
        "created: 1",
        "[('full_name', None), ('id', 1), ('name', 'foo')]",
        "500",
        "500",
        "one manager: True",
        "False Foo",
        "up to date",
    ]


def test_a_model_moves_back_to_sqlalchemy_by_one_import() -> None:
    text = FILES["my_fastapi_app/models.py"]
    line = "from .database import Base\n"
    assert text.count(line) == 1
    ours: dict[str, Any] = {}
    exec(text.replace(line, "from dalkit.orm import Base\n"), ours)
    plain = "from sqlalchemy.orm import DeclarativeBase\n\nclass Base(DeclarativeBase):\n    pass\n"
    theirs: dict[str, Any] = {}
    exec(text.replace(line, plain), theirs)
    ours["Base"].metadata.remove(ours["User"].__table__)
    assert issubclass(theirs["User"], DeclarativeBase)
    described = [str(CreateTable(names["User"].__table__)) for names in (ours, theirs)]
    assert described[0].replace("CONSTRAINT pk_users ", "").replace(
        "CONSTRAINT uq_users_name ", ""
    ) == described[1].replace("CONSTRAINT pk_users ", "")


class Nested(BaseModel):
    """A part of settings."""

    url: str
    pool_size: int = 3


@pytest.mark.parametrize("as_model", [False, True])
async def test_settings_may_be_a_model_or_a_dict(
    engine_uri: str, tmp_path: Path, as_model: bool
) -> None:
    part: Any = {"url": engine_uri, "pool_size": 3}
    config = {
        "sqlalchemy": Nested(**part) if as_model else part,
        "alembic": {"migrations_path": tmp_path},
    }
    manager = manager_from_config(config)
    assert manager.engine.pool.size() == 3  # type: ignore[attr-defined]
    assert manager is manager_from_config(config)
    assert manager is not manager_from_config({**config, "alembic": None})
    await manager.dispose()


@pytest.mark.parametrize("url", ["sqlite:///", "sqlite:///:memory:", URL.create("sqlite")])
def test_another_database_is_refused_in_one_sentence(url: str | URL) -> None:
    with pytest.raises(SyncError, match="needs PostgreSQL: use postgresql://") as raised:
        AsyncDatabaseManager(url, "path/to/alembic")
    assert "\n" not in str(raised.value)


def test_a_command_without_a_database_ends_with_one_line() -> None:
    with pytest.raises(SystemExit, match="needs PostgreSQL"):
        syncdb({"sqlalchemy": {"url": "sqlite:///"}})
