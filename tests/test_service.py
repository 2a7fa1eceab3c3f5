"""A pairwise set of services: installed, migrated, tested, booted and stopped."""

from pathlib import Path

import pytest

from .baking import QUESTIONS, SWITCHES, bake, name_of, pairwise
from .conftest import Shared
from .environments import UV, install, run

DEFAULTS = {name: QUESTIONS[name] for name in SWITCHES}
BOOT = Path(__file__).with_name("boot.py")


@pytest.fixture(params=pairwise(), ids=name_of)
def project(request: pytest.FixtureRequest, shared: Shared) -> Path:
    """An installed service."""
    name = f"service-{name_of(request.param)}"
    return shared(name, lambda folder: install(bake(folder, **request.param))) / "my-service"


def test_migrations_go_up_down_and_up_again(project: Path) -> None:
    output = run(project, UV, "run", "nox", "--session", "migrations")
    assert "No new upgrade operations detected" in output


def test_the_suite_of_the_service_is_green(project: Path) -> None:
    if project.parent.name == f"service-{name_of(DEFAULTS)}":
        # The others are run by test_documents.py: `make test` is the first command of AGENTS.md.
        run(project, UV, "run", "pytest", "-n", "2", "-q", "-m", "slow")
    else:
        run(project, "make", "test", "ARGS=-q")


def test_the_service_answers_and_stops_without_losing_a_request(project: Path) -> None:
    python = project / ".venv" / "bin" / "python"
    run(project, python, BOOT, "my_service", PYTHONPATH=str(project))
