"""The example can be deleted as the README says, and all that is left still works."""

import re
import shutil
from pathlib import Path

import pytest

from .environments import run

UNNEEDED = (".venv", ".nox", ".hypothesis", "*cache*", "uv.lock")
EXAMPLE = r"\b(books|authors|bulk)\b"
# What names the example beside something else, and what is left of it.
SHARED_LINES = [
    (r"from \. import authors, books, health", "from . import health"),
    (r"ENTITIES = \(.*\)", "ENTITIES = ()"),
    (r", body_limits=\{.*\}\)", ")"),
]
MIGRATION = '''"""The owner's next migration."""

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change nothing."""


def downgrade() -> None:
    """Change nothing."""
'''


def paths_to_delete(readme: str) -> list[str]:
    """Return the arguments of `rm -r` in the README's section on the example."""
    section = readme.split("### Delete the example", 1)[1].split("\n#", 1)[0]
    commands = re.findall(r"^\$ rm -r (.*)$", section, re.MULTILINE)
    return [path for arguments in commands for path in arguments.split()]


def without_example(app: str) -> str:
    """Return the source of app.py without what names the example."""
    for pattern, replacement in SHARED_LINES:
        app, count = re.subn(pattern, replacement, app)
        assert count == 1, pattern
    lines = app.splitlines(keepends=True)
    return "".join(line for line in lines if not re.search(EXAMPLE, line))


@pytest.fixture
def stripped(default_project: Path, tmp_path: Path) -> Path:
    """A copy without the example, and with a migration that is numbered like the first one."""
    project = tmp_path / "project"
    shutil.copytree(default_project, project, ignore=shutil.ignore_patterns(*UNNEEDED))
    for path in paths_to_delete((project / "README.md").read_text()):
        doomed = project / path
        shutil.rmtree(doomed) if doomed.is_dir() else doomed.unlink()
    app = project / "src" / "my_service" / "app.py"
    app.write_text(without_example(app.read_text()))
    (project / "migrations" / "versions" / "0002_next.py").write_text(MIGRATION)
    return project


def test_a_project_without_the_example_is_green(default_project: Path, stripped: Path) -> None:
    python = default_project / ".venv" / "bin" / "python"
    path = str(stripped / "src")
    run(stripped, python, "-m", "ruff", "check", "--fix")
    run(stripped, python, "-m", "ruff", "format", "--check")
    run(stripped, python, "-m", "mypy", MYPYPATH=path)
    suite = ("pytest", "-q", "-x", "-n", "2", "-m", "not slow")
    run(stripped, python, "-m", *suite, PYTHONPATH=path)
