"""A pairwise set of services: installed, migrated, tested, booted and stopped."""

from pathlib import Path

import pytest

from .baking import bake, name_of, pairwise
from .environments import UV, install, run

BOOT = Path(__file__).with_name("boot.py")


@pytest.fixture(scope="module", params=pairwise(), ids=name_of)
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installed service."""
    project = bake(tmp_path_factory.mktemp("service"), **request.param)
    install(project)
    return project


def test_migrations_go_up_down_and_up_again(project: Path) -> None:
    output = run(project, UV, "run", "nox", "--session", "migrations")
    assert "No new upgrade operations detected" in output


def test_the_suite_of_the_service_is_green(project: Path) -> None:
    run(project, "make", "test", "ARGS=-q")


def test_the_service_answers_and_stops_without_losing_a_request(project: Path) -> None:
    python = project / ".venv" / "bin" / "python"
    run(project, python, BOOT, "my_service", PYTHONPATH=str(project))
