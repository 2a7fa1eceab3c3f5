"""What the owner of a service does to it before the template has a new version."""

from pathlib import Path

from .environments import UV, run

RESOURCE = {
    "migrations/versions/0001_note.py": '''\
"""Create note and publisher."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    op.create_table(
        "note",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("text", sa.Text, nullable=False),
    )
    op.create_table(
        "publisher",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
    )


def downgrade() -> None:
    """Undo it."""
    op.drop_table("publisher")
    op.drop_table("note")
''',
    "src/my_service/notes/__init__.py": '''\
"""Notes."""

from .router import Note, router

ENTITIES = (Note,)

__all__ = ["ENTITIES", "Note", "router"]
''',
    "src/my_service/notes/router.py": '''\
"""The routes of `/v1/notes`."""

from dalkit import Entity, ReadTransaction
from dalkit.types import Id
from fastapi import APIRouter

router = APIRouter(prefix="/notes", tags=["notes"])


class Note(Entity, table="note"):
    """A row of the table `note`."""

    id: int
    text: str


@router.get("/{note_id}")
async def get_note(note_id: Id, tx: ReadTransaction) -> Note:
    """One note."""
    return await Note.get_or_404(tx, note_id)
''',
    "tests/notes/test_notes.py": '''\
"""The resource /v1/notes."""

import httpx
from dalkit import TransactionManager

from my_service.notes import Note


async def test_a_note_is_found_and_squeezed(
    client: httpx.AsyncClient, transaction: TransactionManager
) -> None:
    note = await Note.insert(transaction, text="remember " * 200)
    response = await client.get(f"/v1/notes/{note.id}", headers={"accept-encoding": "gzip"})
    assert response.json() == {"id": note.id, "text": note.text}
    assert response.headers["content-encoding"] == "gzip"
''',
}
MIDDLEWARE = "from fastapi.middleware import Middleware\n"
HEAD = "            Middleware(HeadMiddleware),\n"
DOCSTRING = 'also read from `.env`."""\n'
#: A resource, a middleware, a setting and a service of compose: (file, old, new).
EDITS = [
    (
        "src/my_service/app.py",
        MIDDLEWARE,
        f"{MIDDLEWARE}from fastapi.middleware.gzip import GZipMiddleware\n",
    ),
    ("src/my_service/app.py", HEAD, f"{HEAD}            Middleware(GZipMiddleware),\n"),
    (
        "src/my_service/app.py",
        "from .settings import",
        "from . import notes\nfrom .settings import",
    ),
    ("src/my_service/app.py", ", ...] = ()", ", ...] = (notes,)"),
    ("src/my_service/settings.py", DOCSTRING, f"{DOCSTRING}\n    loan_days: int = 14\n"),
    (".env.example", "SHUTDOWN_DELAY=0\n", "SHUTDOWN_DELAY=0\nLOAN_DAYS=14\n"),
    ("compose.yaml", "    shm_size: 128mb\n", "    shm_size: 512mb\n"),
    ("compose.yaml", "\nvolumes:\n", "\n  cache:\n    image: valkey/valkey:8\n\nvolumes:\n"),
    ("README.md", "## Run it\n", "Ours, since years.\n\n## Run it\n"),
]


def edit(project: Path, file: str, old: str, new: str) -> None:
    """Replace what occurs once in a file."""
    text = (project / file).read_text("utf-8")
    assert text.count(old) == 1, f"{file} has {text.count(old)} of {old!r}"
    (project / file).write_text(text.replace(old, new), "utf-8")


def work(project: Path) -> None:
    """Delete the example and add what every service gets in its first year; it is installed."""
    run(project, UV, "run", "dalkit", "delete-example")
    for name, text in RESOURCE.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text, "utf-8")
    for file, old, new in EDITS:
        edit(project, file, old, new)
    (project / "Dockerfile").unlink()  # built elsewhere
    if "\nresource:" in (project / "Makefile").read_text("utf-8"):  # not in template 0.2
        run(project, "make", "resource", "TABLE=publisher")
