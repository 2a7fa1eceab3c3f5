"""The example is deleted by one command of the README, and all that is left still works."""

import re
import shutil
from pathlib import Path

import pytest

from .baking import PACKAGE, PROJECT, ROOT
from .environments import UV, install, run

UNNEEDED = (".venv", ".nox", ".postgres", ".*cache*", "__pycache__")


@pytest.fixture(scope="module")
def stripped(default_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installed copy without the example."""
    project = tmp_path_factory.mktemp("stripped") / "project"
    shutil.copytree(default_project, project, ignore=shutil.ignore_patterns(*UNNEEDED))
    install(project)
    section = (project / "README.md").read_text().split("### Delete the example", 1)[1]
    (command,) = re.findall(r"^\$ (.*)$", section.split("\n#", 1)[0], re.MULTILINE)
    run(project, "sh", "-c", command)
    return project


def test_nothing_of_the_example_is_left(stripped: Path) -> None:
    left = [
        str(path.relative_to(stripped))
        for folder in ("src", "tests", "migrations")
        for path in (stripped / folder).rglob("*.*")
        if path.suffix in {".py", ".sql"}
        and re.search(r"\b(authors?|books?)\b", re.sub(r"\w+:books", "", path.read_text()))
    ]
    assert left == []


def test_a_service_without_the_example_is_green(stripped: Path) -> None:
    for session in ("lint", "types", "toolkit", "openapi", "migrations"):
        run(stripped, UV, "run", "nox", "--session", session)
    assert " passed" in run(stripped, UV, "run", "pytest", "-q")


def without_imports(path: Path) -> list[str]:
    lines = path.read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith(("from ", "import "))]


@pytest.mark.parametrize(
    "path",
    [
        "tables.py",
        "authors/queries.py",
        "authors/router.py",
        "authors/schemas.py",
        "books/router.py",
        "books/schemas.py",
        "migrations/versions/0001_author_and_book.py",
    ],
)
def test_the_library_is_tested_on_this_example(path: str) -> None:
    """Its tests have a copy, in which only the imports differ."""
    own = (PROJECT if path.startswith("migrations") else PACKAGE) / path
    copied = ROOT / "dalkit" / "tests" / "service" / path
    assert without_imports(copied) == without_imports(own)
