"""Every service: installed, migrated, tested, booted and stopped."""

import json
import re
import shutil
from pathlib import Path

import pytest
from dalkit.dev.supervisor import free_port

from .baking import bake, name_of, services
from .compose import services_of
from .conftest import Shared
from .environments import UV, install, run

BOOT = Path(__file__).with_name("boot.py")


@pytest.fixture(params=services(), ids=name_of)
def project(request: pytest.FixtureRequest, shared: Shared) -> Path:
    """An installed service."""
    name = f"service-{name_of(request.param)}"
    return shared(name, lambda folder: install(bake(folder, **request.param))) / "my-service"


def test_migrations_go_up_down_and_up_again(project: Path) -> None:
    output = run(project, UV, "run", "nox", "--session", "migrations")
    assert "No new upgrade operations detected" in output


def test_the_suite_of_the_service_is_green(project: Path) -> None:
    output = run(project, "make", "test", "ARGS=-q")
    passed = re.search(r"(\d+) passed", output)
    assert passed is not None, output
    assert int(passed[1]) >= 20


def test_the_toolkit_is_as_released(project: Path) -> None:
    assert "as released" in run(project, UV, "run", "nox", "--session", "toolkit")


def test_the_document_is_what_the_code_says(project: Path) -> None:
    """To the byte; the template's `make openapi` writes it."""
    written = (project / "openapi.json").read_bytes()
    run(project, "make", "openapi")
    assert (project / "openapi.json").read_bytes() == written
    run(project, UV, "run", "nox", "--session", "openapi")


def test_the_service_answers_and_stops_without_losing_a_request(project: Path) -> None:
    """Wired as compose does it for development: with another issuer it lets nobody in."""
    python = project / ".venv" / "bin" / "python"
    services = services_of(project, COMPOSE_PROFILES="development", ISSUER_PORT=str(free_port()))
    run(project, python, BOOT, "my_service", "my-service", json.dumps(services))


def test_a_new_migration_keeps_the_imports_that_it_will_need(
    default_project: Path, tmp_path: Path
) -> None:
    """Through `make revision` and `make fmt`; elsewhere an import that nothing uses goes."""
    project, tools = tmp_path / "my-service", default_project / ".venv" / "bin"
    shutil.copytree(default_project, project, ignore=shutil.ignore_patterns(".*cache*", ".venv"))
    run(project, tools / "alembic", "revision", "--message=add price")
    versions = project / "migrations" / "versions"
    imports = "import sqlalchemy as sa\nfrom alembic import op\n"
    places = [versions / "0002_add_price.py", versions.parent / "env.py", project / "noxfile.py"]
    assert imports in places[0].read_text()
    for place in places[1:]:
        place.write_text(f"{place.read_text()}\nimport sqlalchemy as sa\n")
    run(project, tools / "ruff", "check", "--quiet", "--fix-only", *places)
    assert imports in places[0].read_text()
    for place in places[1:]:
        assert "import sqlalchemy as sa" not in place.read_text(), place
    run(project, tools / "ruff", "check", places[0])


def test_the_extra_of_a_declined_option_is_not_installed(project: Path) -> None:
    python = project / ".venv" / "bin" / "python"
    code = "import importlib.util; print(importlib.util.find_spec('jwt') is not None)"
    wanted = "auth0" in (project / "pyproject.toml").read_text().partition("[project.scripts]")[0]
    assert run(project, python, "-c", code).strip() == str(wanted)
