"""A service as sqlalchemy-helpers' documentation writes it, with the import changed."""

from pathlib import Path

FILES = {
    "my_fastapi_app/__init__.py": "",
    "my_fastapi_app/config.py": """
import os
from functools import cache
from pathlib import Path

from pydantic import BaseModel, DirectoryPath
from pydantic_settings import BaseSettings


class SQLAlchemyModel(BaseModel):
    url: str = os.environ.get("DATABASE_URL", "sqlite:///:memory:")


class AlembicModel(BaseModel):
    migrations_path: DirectoryPath = Path(__file__).parent.joinpath("migrations").absolute()


class DatabaseModel(BaseModel):
    sqlalchemy: SQLAlchemyModel = SQLAlchemyModel()
    alembic: AlembicModel = AlembicModel()


class Settings(BaseSettings):
    database: DatabaseModel = DatabaseModel()


@cache
def get_settings() -> Settings:
    return Settings()
""",
    "my_fastapi_app/database.py": """
from collections.abc import AsyncIterator
from fastapi import APIRouter, Depends
from sqlalchemy.ext.asyncio import AsyncSession
from dalkit.orm import AsyncDatabaseManager, make_db_session, manager_from_config
from dalkit.orm import Base
from .config import get_settings
from . import models

async def gen_db_manager() -> AsyncDatabaseManager:
    db_settings = get_settings().database
    return manager_from_config(db_settings)

async def gen_db_session(
    db_manager: AsyncDatabaseManager = Depends(gen_db_manager),
) -> AsyncIterator[AsyncSession]:
    async for session in make_db_session(db_manager):
        yield session
""",
    "my_fastapi_app/models.py": """
from sqlalchemy import UnicodeText
from sqlalchemy.orm import Mapped, mapped_column
from .database import Base

class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(UnicodeText, unique=True)
    full_name: Mapped[str | None]
""",
    "my_fastapi_app/views.py": """
from fastapi import APIRouter, Depends
from sqlalchemy.ext.asyncio import AsyncSession
from .database import gen_db_session
from .models import User

router = APIRouter(prefix="/users")

@router.get("/user/{name}")
async def get_user(name: str, db_session: AsyncSession = Depends(gen_db_session)):
    user = await User.get_one(db_session, name=name)
    return user

@router.post("/user/{name}")
async def add_user(name: str, db_session: AsyncSession = Depends(gen_db_session)):
    user, created = await User.get_or_create(db_session, name=name)
    return {"id": user.id, "created": created}

@router.post("/broken/{name}")
async def add_and_fail(name: str, db_session: AsyncSession = Depends(gen_db_session)):
    db_session.add(User(name=name))
    await db_session.flush()
    raise ArithmeticError
""",
    "my_fastapi_app/main.py": """
from fastapi import FastAPI
from .views import router

app = FastAPI()
app.include_router(router)
""",
    "my_fastapi_app/cli.py": """
import typer
from dalkit.orm import syncdb
from .config import get_settings

app = typer.Typer()

@app.command()
def sync() -> None:
    syncdb(get_settings().database)

if __name__ == "__main__":
    app()
""",
    "my_fastapi_app/migrations/alembic.ini": """
[alembic]
script_location = %(here)s
""",
    "my_fastapi_app/migrations/env.py": """
from alembic import context

from dalkit.schema import migrate
from my_fastapi_app.config import get_settings
from my_fastapi_app.database import Base

config = context.config
url = get_settings().database.sqlalchemy.url
config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
target_metadata = Base.metadata

migrate(target_metadata, get_settings().database)
""",
    "my_fastapi_app/migrations/script.py.mako": '''
"""${message}"""

from alembic import op
import sqlalchemy as sa

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade():
    ${upgrades if upgrades else "pass"}


def downgrade():
    ${downgrades if downgrades else "pass"}
''',
}

#: What is asked of it, each line of the answer one fact.
QUESTIONS = """
import asyncio

import httpx
from sqlalchemy import select

from my_fastapi_app.cli import sync
from my_fastapi_app.database import gen_db_manager
from my_fastapi_app.main import app
from my_fastapi_app.models import User


async def main():
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        posted = await asyncio.gather(*(client.post("/users/user/foo") for _ in range(20)))
        print("created:", sum(one.json()["created"] for one in posted))
        print(sorted((await client.get("/users/user/foo")).json().items()))
        print((await client.post("/users/broken/bar")).status_code)
        print((await client.get("/users/user/bar")).status_code)
    db = await gen_db_manager()
    print("one manager:", db is await gen_db_manager())
    session = db.Session()
    result = await session.execute(select(User).filter_by(name="foo"))
    (user,) = result.one()
    assert user is await User.get_one(session, name="foo")
    assert user is await User.get_by_pk(session, user.id)
    user, created = await User.update_or_create(session, name="foo", defaults=dict(full_name="Foo"))
    print(created, await user.awaitable_attrs.full_name)
    await session.close()
    print((await db.status()).value)
    await db.dispose()


sync()
asyncio.run(main())
"""


def write(folder: Path) -> None:
    """Write the service."""
    for name, text in FILES.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.lstrip("\n"))
    (folder / "my_fastapi_app" / "migrations" / "versions").mkdir()
    (folder / "questions.py").write_text(QUESTIONS)
