"""Resources are written from tables, are green as they come, and go without a trace."""

import re
import shutil
from pathlib import Path

import pytest

from .baking import text_files
from .environments import UV, install, run
from .guides import check

TABLES = Path(__file__).with_name("resource_tables.sql")
CONTRACT = Path(__file__).with_name("contract.py")
UNNEEDED = shutil.ignore_patterns(".venv", ".nox", ".postgres", ".*cache*", "__pycache__")
#: Examples that schemathesis tries of each operation.
EXAMPLES = 1
VIEWS = {"open_loans": "id", "loans_by_branch": "branch_code"}
MIGRATION = '''"""Add the tables."""

from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    for statement in Path(__file__).with_name("tables.sql").read_text("utf-8").split(";\\n"):
        if statement.strip():
            op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    """Undo it."""
    tables = sa.text(
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = 'public'"
        " AND tablename NOT IN ('author', 'book', 'alembic_version')"
    )
    for name in op.get_bind().scalars(tables).all():
        op.execute(f"DROP TABLE {name} CASCADE".replace(":", r"\\:"))
    op.execute("DROP SCHEMA shop, clinic, ledger, geography CASCADE")
    op.execute("DROP EXTENSION btree_gist")
'''


def tables() -> str:
    """The statements; of the table `wide` with a hundred columns."""
    types = ["int", "text", "date", "numeric(6, 2)", "boolean"]
    columns = [f"c{i:03d} {types[i % 5]}{' NOT NULL' if i < 10 else ''}" for i in range(98)]
    text = TABLES.read_text("utf-8")
    return text.replace("\n);\n-- wide", f",\n{', '.join(columns)});\n-- wide")


def names() -> list[str]:
    """The tables, as the command takes them."""
    found = re.findall(r'(?m)^CREATE TABLE ((?:\w+\.)?)("[^"]+"|\w+)', tables())
    return [schema + name.strip('"') for schema, name in found]


def contents(project: Path) -> dict[Path, bytes]:
    """Every file of the service with its text."""
    ignored = {".cache", ".hypothesis"}
    paths = [path for path in text_files(project) if not ignored & set(path.parts)]
    return {path: path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def project(default_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installed service whose migrations and tables.py have the tables, and no resource."""
    project = tmp_path_factory.mktemp("resources") / "my-service"
    shutil.copytree(default_project, project, ignore=UNNEEDED)
    install(project)
    versions = project / "migrations" / "versions"
    (versions / "0002_tables.py").write_text(MIGRATION)
    (versions / "tables.sql").write_text(tables(), "utf-8")
    run(project, "make", "resource", "TABLE=publisher")
    run(project, "make", "resource-rm", "NAME=publishers")
    return project


def test_resources_of_all_kinds_of_tables_are_green_and_go_again(project: Path) -> None:
    before = contents(project)
    assert len(names()) > 40
    run(project, UV, "run", "dalkit", "resource", "add", *names())
    for view, key in VIEWS.items():
        run(project, "make", "resource", f"TABLE={view}", f"KEY={key}")
    assert "read:publishers" in (project / "openapi.json").read_text()
    # A key that is in a body is in a path afterwards, which takes digits only.
    departments = (project / "src/my_service/clinic_departments/schemas.py").read_text()
    assert "id: Annotated[JsonInt32, Field(ge=0)]" in departments
    check(project)
    python = (UV, "run", "--with", "schemathesis>=4.32", "python")
    run(project, *python, CONTRACT, "my_service", "my-service", str(EXAMPLES))
    written = [path.parent.name for path in (project / "src/my_service").glob("*/router.py")]
    added = sorted({*written} - {"authors", "books"})
    assert len(added) == len(names()) + len(VIEWS)
    run(project, UV, "run", "dalkit", "resource", "remove", *added)
    assert contents(project) == before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["TABLE=book"], "'book' has a resource: src/my_service/books."),
        (["TABLE=keyless"], "'keyless' has no primary key: add one in a migration."),
        (["TABLE=open_loans"], "'open_loans' is a view: name the columns"),
        (["TABLE=magazine"], 'make revision m="add magazine"'),
    ],
)
def test_what_cannot_be_a_resource_is_refused_in_a_sentence(
    project: Path, arguments: list[str], sentence: str
) -> None:
    before = contents(project)
    said = run(project, "make", "resource", *arguments, check=False)
    assert sentence in said
    assert "Traceback" not in said
    assert contents(project) == before


def test_what_is_taken_away_is_said(project: Path) -> None:
    run(project, "make", "resource", "TABLE=publisher")
    said = run(project, "make", "resource-rm", "NAME=publishers")
    assert "publishers: gone, with its tests" in said


def test_the_example_is_named_as_it_can_be_deleted_after_other_migrations(project: Path) -> None:
    before = contents(project)
    said = run(project, "make", "delete-example", check=False)
    assert "0002_tables.py follows the example's migration: " in said
    assert "`make resource-rm NAME=books`" in said
    assert contents(project) == before


def test_a_module_that_cannot_be_read_is_named(project: Path) -> None:
    settings = project / "src" / "my_service" / "settings.py"
    text = settings.read_text("utf-8")
    settings.write_text(f"{text}\n)\n")
    try:
        said = run(project, "make", "resource", "TABLE=publisher", check=False)
    finally:
        settings.write_text(text)
    line = text.count("\n") + 2
    assert f"src/my_service/settings.py, line {line}: unmatched ')'. Correct it first." in said
    assert "Traceback" not in said


def test_nothing_is_written_when_a_later_step_fails(project: Path) -> None:
    """The document cannot be written, as what it is made of does not import."""
    main = project / "src" / "my_service" / "books" / "router.py"
    text = main.read_text("utf-8")
    main.write_text(f"{text}\n1 / 0\n")
    before = contents(project)
    said = run(project, "make", "resource", "TABLE=publisher", check=False)
    assert "nothing was changed" in said
    assert contents(project) == before
    said = run(project, "make", "resource-rm", "NAME=authors", check=False)
    assert "nothing was changed" in said
    assert contents(project) == before
    main.write_text(text)
