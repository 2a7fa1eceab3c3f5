"""The newest revision is read from the migrations as alembic reads them, or by alembic."""

from pathlib import Path

import pytest

from dalkit.schema.expected import History, Status, compare_with_expected, read_history
from dalkit.schema.revisions import alembic_config, head_revision

MIGRATION = 'revision = "{}"\ndown_revision = {}\n'


@pytest.fixture
def ini(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An alembic.ini whose migrations are `a` and, after it, `b`."""
    path = tmp_path / "alembic.ini"
    path.write_text("[alembic]\nscript_location = %(here)s/migrations\n")
    add(path, "a", "None")
    add(path, "b", '"a"')
    monkeypatch.setenv("ALEMBIC_CONFIG", str(path))
    return path


def add(ini: Path, revision: str, down: str, more: str = "", name: str = "") -> None:
    """Write a migration."""
    folder = ini.parent / "migrations" / "versions"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name or revision}.py").write_text(MIGRATION.format(revision, down) + more)


def test_migrations_are_read_as_alembic_reads_them(ini: Path) -> None:
    assert read_history(ini) == History("b", frozenset("ab"))
    assert head_revision(alembic_config()) == "b"
    add(ini, "c", '"a"')
    add(ini, "d", '("b", "c")', more="branch_labels: str | None = None\n")
    assert read_history(ini) == History("d", frozenset("abcd"))
    assert head_revision(alembic_config()) == "d"


@pytest.mark.parametrize(
    ("revision", "status"),
    [
        (None, Status.NO_INFO),
        ("a", Status.UPGRADE_AVAILABLE),
        ("b", Status.UP_TO_DATE),
        ("z", Status.NEWER),
    ],
)
@pytest.mark.parametrize("more", ["", "branch_labels = ['x']\n"])
def test_a_revision_is_compared_the_same_with_alembic_and_without(
    revision: str | None, status: Status, more: str, ini: Path
) -> None:
    add(ini, "b", '"a"', more)
    assert (read_history(ini) is None) == bool(more)
    assert compare_with_expected(revision) is status


@pytest.mark.parametrize(
    ("revision", "down", "more"),
    [
        ("c", '"a"', ""),  # a second head
        ("c", '"nothing"', ""),
        ("c", "previous()", ""),
        ("c", '"b"', "depends_on = 'a'\n"),
        ("c", '"b"', "branch_labels = ('x',)\n"),
        ("b", '"a"', ""),  # in a second file
        ("c", '"b"', "def f(:\n"),
    ],
)
def test_alembic_is_asked_about_whatever_is_not_plain(
    revision: str, down: str, more: str, ini: Path
) -> None:
    add(ini, revision, down, more, name="another")
    assert read_history(ini) is None


@pytest.mark.parametrize("option", ["version_locations = %(here)s/x", "sourceless = true"])
def test_alembic_is_asked_when_the_migrations_are_elsewhere(option: str, ini: Path) -> None:
    ini.write_text(f"{ini.read_text()}{option}\n")
    assert read_history(ini) is None


@pytest.mark.parametrize(
    "more", ['revision += "x"\n', "if True:\n    down_revision = None\n", "revision = 'd'\n"]
)
def test_alembic_is_asked_about_a_revision_that_is_changed(more: str, ini: Path) -> None:
    add(ini, "c", '"b"', more)
    assert read_history(ini) is None
