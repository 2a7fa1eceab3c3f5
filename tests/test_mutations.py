"""The service's own tests notice when it is broken."""

import shutil
import subprocess
from pathlib import Path

import pytest

from .environments import environment
from .mutations import MUTATIONS, Mutation

UNNEEDED = (".venv", ".nox", ".hypothesis", ".*cache*", "__pycache__", "uv.lock")
TESTS_FAILED = 1  # pytest's exit status; any other means that it could not run them
by_name = pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.name.replace(" ", "-"))


@pytest.fixture
def copied(default_project: Path, tmp_path: Path) -> Path:
    """A copy to break; it uses the environment of the original."""
    project = tmp_path / "project"
    shutil.copytree(default_project, project, ignore=shutil.ignore_patterns(*UNNEEDED))
    return project


@by_name
def test_a_mutation_is_unambiguous(mutation: Mutation, default_project: Path) -> None:
    assert (default_project / mutation.file).read_text().count(mutation.old) == 1
    assert mutation.old != mutation.new
    assert (default_project / mutation.tests).exists()


@by_name
def test_a_mutation_turns_the_suite_red(
    mutation: Mutation, default_project: Path, copied: Path
) -> None:
    path = copied / mutation.file
    path.write_text(path.read_text().replace(mutation.old, mutation.new))
    python = default_project / ".venv" / "bin" / "python"
    result = subprocess.run(
        [python, "-m", "pytest", "-x", "-q", mutation.tests],
        cwd=copied,
        env=environment(PYTHONPATH=str(copied / "src")),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == TESTS_FAILED, result.stdout[-4000:]
    assert " failed" in result.stdout or " error" in result.stdout
