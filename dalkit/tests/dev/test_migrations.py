"""`dalkit check-migrations` and `dalkit lint-migrations`, in a repository."""

import subprocess

import pytest

from dalkit.dev.migrations import check, lint
from dalkit.dev.project import Project

pytestmark = pytest.mark.slow

MIGRATION = '''"""Do as a test says."""
{permission}
from alembic import op

revision = "{revision}"
down_revision = "{before}"


def upgrade():
    {body}


def downgrade():
    pass
'''
INDEX = 'op.create_index("ix_book_price", "book", ["price"])'
COLUMN = 'op.execute("ALTER TABLE book ADD COLUMN pages bigint")'
QUESTION = 'op.get_bind().scalar("SELECT 1").bit_length()'


def git(project: Project, *arguments: str) -> str:
    author = ("-c", "user.name=t", "-c", "user.email=t@example.com")
    command = ["git", *author, *arguments]
    done = subprocess.run(command, cwd=project.folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(project: Project) -> str:
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message=all")
    return git(project, "rev-parse", "HEAD")


def add(project: Project, number: int, body: str, permission: str = "") -> None:
    """Add a migration that is not committed."""
    revision, before = f"{number:04d}", f"{number - 1:04d}"
    text = MIGRATION.format(revision=revision, before=before, body=body, permission=permission)
    versions = project.folder / "tests" / "service" / "migrations" / "versions"
    (versions / f"{revision}_it.py").write_text(text)


@pytest.fixture
def service(own_project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The service of the tests, which is in no repository."""
    ini = own_project.folder / "tests" / "service" / "alembic.ini"
    monkeypatch.setenv("ALEMBIC_CONFIG", str(ini))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(own_project.folder.parent))
    (own_project.folder / "tests" / "__init__.py").touch()
    return own_project


@pytest.fixture
def main_branch(service: Project) -> Project:
    """The same, committed to the branch main."""
    (service.folder / ".gitignore").write_text("__pycache__\n")
    git(service, "init", "--quiet", "--initial-branch=main")
    commit(service)
    return service


@pytest.fixture
def repository(main_branch: Project) -> Project:
    """The same, on a branch of main."""
    git(main_branch, "switch", "--quiet", "--create", "work")
    return main_branch


def test_migrations_go_up_down_and_up_and_are_what_tables_py_says(
    service: Project, capfd: pytest.CaptureFixture[str]
) -> None:
    """Here it has not the column; services whose tables.py has all are the template's tests."""
    tables = service.folder / "tests" / "service" / "tables.py"
    add(service, 2, COLUMN)
    tables.write_text(tables.read_text().replace('"revision": "0001"', '"revision": "0002"'))
    assert check(service) != 0
    output = "".join(capfd.readouterr())
    assert "Running downgrade 0001" in output
    assert "New upgrade operations detected" in output


def test_a_new_migration_that_locks_a_table_is_refused(
    repository: Project, capfd: pytest.CaptureFixture[str]
) -> None:
    """Committed on a branch or not yet; those that the branch left from are not looked at."""
    add(repository, 2, INDEX)
    commit(repository)
    add(repository, 3, COLUMN)
    assert lint(repository, None) == 1
    output = capfd.readouterr().out
    assert "Migrations that main does not have: 2, linted: 2." in output
    assert "require-concurrent-index-creation" in output
    assert "0002_it.sql" in output
    assert "0001" not in output
    assert "require-timeout-settings" not in output  # the SQL has those of migrate()


def test_what_locks_nothing_or_is_permitted_passes(
    repository: Project, capfd: pytest.CaptureFixture[str]
) -> None:
    add(repository, 2, INDEX, "# squawk-ignore-file require-concurrent-index-creation")
    assert lint(repository, None) == 0
    assert "does not have: 1, linted: 1." in capfd.readouterr().out


def test_a_configuration_of_the_service_is_obeyed(repository: Project) -> None:
    config = 'excluded_rules = ["require-concurrent-index-creation"]\n'
    (repository.folder / ".squawk.toml").write_text(config)
    add(repository, 2, INDEX)
    assert lint(repository, None) == 0


def test_a_commit_can_be_named(repository: Project, capfd: pytest.CaptureFixture[str]) -> None:
    add(repository, 2, INDEX)
    second = commit(repository)
    assert lint(repository, "HEAD") == 0
    assert f"Migrations that {second} does not" not in capfd.readouterr().out
    assert lint(repository, f"{second}^") == 1


def test_what_asks_the_database_is_left_to_the_reader(
    repository: Project, capfd: pytest.CaptureFixture[str]
) -> None:
    add(repository, 2, QUESTION)
    assert lint(repository, None) == 0
    output = capfd.readouterr().out
    assert output.startswith("0002_it.py has no SQL without a database (")
    assert output.endswith("does not have: 1, linted: 0.\n")


def test_alembic_may_fail_without_a_word(
    repository: Project, capfd: pytest.CaptureFixture[str]
) -> None:
    add(repository, 2, "raise SystemExit(3)")
    assert lint(repository, None) == 0
    output = capfd.readouterr().out
    assert output.startswith("0002_it.py has no SQL without a database (alembic ended with 3):")


def test_on_the_main_branch_itself_all_migrations_are_new(
    main_branch: Project, capfd: pytest.CaptureFixture[str]
) -> None:
    """Without this a new repository would hear that none of its migrations is."""
    add(main_branch, 2, INDEX)
    commit(main_branch)
    assert lint(main_branch, None) == 1
    output = capfd.readouterr().out
    reason = (
        "this is the branch main, and none of origin/HEAD, origin/main, origin/master, master is in"
        " this clone"
    )
    told = f"All migrations, as there is nothing to compare with ({reason}): 2, linted: 2.\n"
    assert output.startswith(told)
    assert "require-concurrent-index-creation" in output


@pytest.mark.parametrize(
    ("branch", "reason"),
    [
        (None, "fatal: not a git repository"),
        ("work", "this is the branch work, and none of origin/HEAD, origin/main, origin/master,"),
    ],
)
def test_without_a_base_all_migrations_are_new(
    service: Project, branch: str | None, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """No repository, no commit yet."""
    add(service, 2, INDEX)
    if branch:
        git(service, "init", "--quiet", f"--initial-branch={branch}")
    assert lint(service, None) == 1
    told = f"All migrations, as there is nothing to compare with ({reason}"
    assert capfd.readouterr().out.startswith(told)


@pytest.mark.parametrize("base", ["0" * 40, "1" * 40])
def test_a_base_that_is_not_there_is_replaced_by_the_main_branch(
    repository: Project, base: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """The first push of a branch has nothing before it, and a forced one replaces what was."""
    add(repository, 2, INDEX)
    assert lint(repository, base) == 1
    told = f"{base} is not in this clone: compared with the main branch instead.\n"
    output = capfd.readouterr().out
    assert output.startswith(f"{told}Migrations that main does not have: 1, linted: 1.\n")
