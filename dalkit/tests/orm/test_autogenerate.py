"""Alembic compares with the models beside the typed tables."""

from pathlib import Path

import pytest
from alembic import command

from dalkit.schema import SyncError

from tests.schema.fixtures import AddMigration, InProcess
from tests.service.tables import metadata

pytestmark = pytest.mark.slow

ENV = '''"""Alembic's entry point."""

from dalkit import Settings
from dalkit.schema import migrate
from sqlalchemy import ForeignKey, MetaData
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from tests.service.tables import metadata


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=metadata.naming_convention)


class Reader(Base):
    __tablename__ = "reader"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    book_id: Mapped[int] = mapped_column(ForeignKey("book.id"))


migrate({metadatas}, Settings)
'''
SAME_TABLE = """

class Author(Base):
    __tablename__ = "author"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    nickname: Mapped[str | None]
"""


def proposal(checkout: Path, name: str) -> str:
    """The migration of this name."""
    return next((checkout / "migrations" / "versions").glob(f"*_{name}.py")).read_text()


async def test_models_and_typed_tables_are_compared_together(
    in_process: InProcess, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model's table is proposed, nothing is dropped, and afterwards nothing is left to do."""
    await in_process(command.upgrade, "head")
    env = checkout / "migrations" / "env.py"
    env.write_text(ENV.replace("{metadatas}", "[metadata, Base.metadata]"))
    await in_process(command.revision, "reader", autogenerate=True)
    text = proposal(checkout, "reader")
    assert "create_table('reader'" in text.replace("(\n        ", "(").replace('"', "'")
    assert '["book.id"]' in text
    upgrade = text.partition("def downgrade")[0]
    assert "drop" not in upgrade
    assert upgrade.count("\n    op.") == 1
    await in_process(command.upgrade, "head")
    monkeypatch.setitem(metadata.info, "revision", "0002")  # as if they were written again
    await in_process(command.check)


async def test_a_table_of_both_is_compared_with_the_model(
    in_process: InProcess, checkout: Path
) -> None:
    """So the typed tables, which know all tables, may be written again after a migration."""
    await in_process(command.upgrade, "head")
    text = ENV.replace("{metadatas}", "[metadata, Base.metadata]").replace(
        "\n\nmigrate(", f"{SAME_TABLE}\n\nmigrate("
    )
    (checkout / "migrations" / "env.py").write_text(text)
    await in_process(command.revision, "nickname", autogenerate=True)
    assert 'add_column("author", sa.Column("nickname"' in proposal(checkout, "nickname")


async def test_typed_tables_that_are_behind_are_still_refused(
    in_process: InProcess, checkout: Path, add_migration: AddMigration
) -> None:
    add_migration("0002")
    await in_process(command.upgrade, "head")
    env = checkout / "migrations" / "env.py"
    env.write_text(ENV.replace("{metadatas}", "[metadata, Base.metadata]"))
    with pytest.raises(SyncError, match=r"tables\.py was written from revision 0001"):
        await in_process(command.revision, "late", autogenerate=True)
