"""`sync` and `status` say what they did and found, from any kind of settings."""

import asyncio
import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr
from sqlalchemy import URL, QueuePool, make_url, text

from dalkit.data.engine import create_engine
from dalkit.schema import (
    DatabaseManager,
    Status,
    SyncError,
    SyncResult,
    manager_from_config,
    status,
    sync,
)
from dalkit.schema.revisions import alembic_config, head_revision, revision_of
from dalkit.settings import Settings
from dalkit.testing.databases import create_database, drop_database, named

from tests.paths import SERVICE
from tests.schema.fixtures import AddMigration


class Database(BaseModel):
    url: SecretStr
    pool_size: int = 10


class Limited(Database):
    statement_timeout: float
    lock_timeout: float


class Alembic(BaseModel):
    migrations_path: Path


class Nested(BaseModel):
    """The layout of sqlalchemy-helpers."""

    sqlalchemy: Database
    alembic: Alembic


async def test_from_nothing_to_up_to_date(empty_database: str, add_migration: AddMigration) -> None:
    config = {"database_url": empty_database}
    assert await status(config) is Status.NO_INFO
    assert await sync(config) is SyncResult.CREATED
    assert await status(config) is Status.UP_TO_DATE
    assert await sync(config) is SyncResult.ALREADY_UP_TO_DATE
    add_migration("f00d0002", body='op.execute("CREATE TABLE two ()")')
    assert await status(config) is Status.UPGRADE_AVAILABLE
    assert await sync(config) is SyncResult.UPGRADED
    assert await status(config) is Status.UP_TO_DATE


@pytest.mark.parametrize("kind", ["settings", "mapping", "object", "nested model", "nested dict"])
async def test_a_job_gets_the_pool_and_the_limits_of_the_service(
    empty_database: str, kind: str
) -> None:
    values: dict[str, Any] = {"database_url": empty_database, "database_pool_size": 3}
    values |= {"database_statement_timeout": 7.0, "database_lock_timeout": 2.0}
    nested = {"url": empty_database, "pool_size": 3, "statement_timeout": 7.0, "lock_timeout": 2.0}
    configs = {
        "settings": Settings(_env_file=None, **values),
        "mapping": values,
        "object": SimpleNamespace(**values),
        "nested model": SimpleNamespace(sqlalchemy=Limited.model_validate(nested)),
        "nested dict": {"sqlalchemy": nested},
    }
    limits = text("SELECT current_setting('statement_timeout'), current_setting('lock_timeout')")
    async with manager_from_config(configs[kind]).connect() as dal, dal.transaction() as tx:
        assert (await tx.execute(limits)).one() == ("7s", "2s")
        assert isinstance(dal.engine.pool, QueuePool)
        assert dal.engine.pool.size() == 3


async def test_the_connection_of_a_migration_has_no_limit_on_statements(
    empty_database: str,
) -> None:
    config = {"database_url": empty_database, "database_statement_timeout": 7.0}
    async with manager_from_config(config).migration_connection() as conn:
        assert (await conn.execute(text("SHOW statement_timeout"))).scalar_one() == "0"


async def test_two_at_once_in_one_process(empty_database: str) -> None:
    results = await asyncio.gather(sync(empty_database), sync(empty_database))
    assert set(results) == {SyncResult.CREATED, SyncResult.ALREADY_UP_TO_DATE}


async def test_two_databases_at_once_in_one_process(
    empty_database: str, server_url: URL, worker_id: str
) -> None:
    """Alembic keeps what it is doing in globals."""
    name = named(server_url, "second", worker_id)
    await create_database(server_url, name)
    second = server_url.set(database=name)
    try:
        results = await asyncio.gather(sync(empty_database), sync(second))
    finally:
        await drop_database(server_url, name)
    assert list(results) == [SyncResult.CREATED, SyncResult.CREATED]


async def test_through_pgbouncer_all_is_one_transaction(empty_database: str) -> None:
    config = {"database_url": empty_database, "database_pgbouncer": True}
    assert await sync(config) is SyncResult.CREATED
    assert await sync(config) is SyncResult.ALREADY_UP_TO_DATE


async def test_the_loop_goes_on_meanwhile(empty_database: str) -> None:
    longest, last = 0.0, asyncio.get_running_loop().time()
    syncing = asyncio.create_task(sync(empty_database))
    while not syncing.done():
        await asyncio.sleep(0.001)
        now = asyncio.get_running_loop().time()
        longest, last = max(longest, now - last), now
    assert await syncing is SyncResult.CREATED
    assert longest < 1.0  # 0.05 s, for reading the migrations, on an idle machine


async def test_two_heads_are_refused_in_words(
    empty_database: str, add_migration: AddMigration
) -> None:
    head = head_revision()
    add_migration("f00d000a", after=head)
    add_migration("f00d000b", after=head)
    with pytest.raises(SyncError, match=r"2 heads \(f00d000a, f00d000b\).*alembic merge heads"):
        await sync(empty_database)
    with pytest.raises(SyncError, match="2 heads"):
        await status(empty_database)


async def test_a_database_ahead_of_the_code_is_named(empty_database: str) -> None:
    await sync(empty_database)
    await execute(empty_database, "UPDATE alembic_version SET version_num = 'later'")
    for act in (sync, status):
        with pytest.raises(SyncError, match="later"):
            await act(empty_database)


async def test_tables_without_a_revision_are_explained(empty_database: str) -> None:
    await sync(empty_database)
    await execute(empty_database, "DROP TABLE alembic_version")
    with pytest.raises(SyncError, match="alembic stamp"):
        await sync(empty_database)


async def execute(url: str, statement: str) -> None:
    engine = create_engine(url)
    async with engine.begin() as connection:
        await connection.execute(text(statement))
    await engine.dispose()


async def test_the_revision_can_be_read_on_any_connection(
    empty_database: str, fresh_database: str
) -> None:
    for url, expected in ((empty_database, None), (fresh_database, head_revision())):
        engine = create_engine(url)
        async with engine.connect() as connection:
            assert await connection.run_sync(revision_of) == expected
        await engine.dispose()


def configs(url: str) -> list[Any]:
    migrations = SERVICE / "migrations"
    return [
        url,
        make_url(url),
        {"database_url": url},
        {"sqlalchemy": {"url": url, "pool_size": 2}, "alembic": {"migrations_path": migrations}},
        Nested(
            sqlalchemy=Database(url=SecretStr(url)), alembic=Alembic(migrations_path=migrations)
        ),
        Settings(_env_file=None, database_url=SecretStr(url)),
        SimpleNamespace(database_url=SecretStr(url)),
        DatabaseManager(url).url,
    ]


@pytest.mark.parametrize("number", range(8))
async def test_a_manager_from_any_config_works_twice(fresh_database: str, number: int) -> None:
    """The config keeps its password, and its shape."""
    config = configs(fresh_database)[number]
    before = copy.deepcopy(config)
    for _ in range(2):
        manager = manager_from_config(config)
        assert await manager.status() is Status.UP_TO_DATE
        assert manager.url.password == make_url(fresh_database).password
    assert config == before


@pytest.mark.parametrize("number", range(8))
def test_a_password_survives_two_managers(number: int) -> None:
    url = URL.create("postgresql", "u", "p%@:/\u00e9", "host", 5432, "name")
    config = configs(url.render_as_string(hide_password=False))[number]
    assert [manager_from_config(config).url.password for _ in range(2)] == ["p%@:/\u00e9"] * 2


async def test_a_manager_connects_with_the_engine_s_options(fresh_database: str) -> None:
    manager = manager_from_config({"sqlalchemy": {"url": fresh_database, "pool_size": 2}})
    async with manager.connect() as dal:
        assert "alembic_version" in dal.metadata.tables
        assert dal.engine.pool.status().startswith("Pool size: 2")


@pytest.mark.parametrize("config", [{}, {"database_url": None}, SimpleNamespace(), Settings])
def test_a_config_without_a_url_says_what_to_set(config: Any) -> None:
    config = config(_env_file=None) if config is Settings else config
    with pytest.raises(SyncError, match="DATABASE_URL is not set"):
        manager_from_config(config)


def test_alembic_ini_is_that_of_the_variable_then_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found() -> Path:
        return Path(str(alembic_config().config_file_name))

    for folder in ("here", "named", "empty"):
        (tmp_path / folder).mkdir()
    for folder in ("here", "named"):
        (tmp_path / folder / "alembic.ini").write_text("[alembic]\n")
    monkeypatch.delenv("ALEMBIC_CONFIG")
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(SyncError, match=r"empty/alembic\.ini: set ALEMBIC_CONFIG"):
        found()
    monkeypatch.chdir(tmp_path / "here")
    assert found() == tmp_path / "here" / "alembic.ini"
    monkeypatch.setenv("ALEMBIC_CONFIG", str(tmp_path / "named" / "alembic.ini"))
    assert found() == tmp_path / "named" / "alembic.ini"
    monkeypatch.setenv("ALEMBIC_CONFIG", str(tmp_path / "missing.ini"))
    with pytest.raises(SyncError, match=r"missing\.ini: set ALEMBIC_CONFIG"):
        found()
