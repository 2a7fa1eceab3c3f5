"""Takes resources out of a service: `dalkit remove-resource`, `dalkit delete-example`."""

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from .postgres import discard
from .project import Project

EXAMPLE = ("books", "authors")
EXAMPLE_MIGRATION = "0001_author_and_book.py"
#: The first line after what every tables.py begins with.
REVISION = re.compile(r", info=\{[^}]*\}")
METADATA = re.compile(r"(?m)^metadata = .*\n")
IMPORT = re.compile(r"(?m)^(from \. import )(.*)()\n")
RESOURCES = re.compile(r"(?m)^(RESOURCES\b[^=]*= \()([^)]*)(\))\n")


def remove_resources(project: Project, names: Sequence[str]) -> None:
    """Delete the folders and tests of these resources, and take their words out of app.py.

    Their tables stay: dropping one is a migration. Exits with a sentence, before anything is
    deleted, when one of them is no resource of the service.
    """
    package = _package(project)
    app = package / "app.py"
    text = app.read_text("utf-8")
    for name in names:
        folder = package / name
        if not (folder / "router.py").is_file():
            sys.exit(f"{name!r} is not a resource: {folder} has no router.py.")
        text, found = _without_word(text, name)
        if not found:
            sys.exit(f"{app} does not name {name!r} in RESOURCES.")
    app.write_text(text, "utf-8")
    for name in names:
        shutil.rmtree(package / name)
        shutil.rmtree(project.folder / "tests" / name, ignore_errors=True)
    _tidy(project, app)
    if (project.folder / "openapi.json").exists():
        command = [sys.executable, "-m", f"{project.package}.cli", "openapi"]
        subprocess.run(command, cwd=project.folder, check=False)


def delete_example(project: Project) -> None:
    """Delete the example's resources with their tables, migration and rows.

    The database of `dalkit run` is deleted with them when it is there: it has their tables. Exits
    with a sentence when other migrations follow the example's. Raises PostgresError while that
    database is in use.
    """
    versions = project.folder / "migrations" / "versions"
    if others := sorted({path.name for path in versions.glob("*.py")} - {EXAMPLE_MIGRATION}):
        sys.exit(
            f"{others[0]} follows the example's migration: use `dalkit remove-resource"
            f" {' '.join(EXAMPLE)}`, and drop its tables in a migration of your own."
        )
    discard(project.data_dir)
    remove_resources(project, EXAMPLE)
    (versions / EXAMPLE_MIGRATION).unlink()
    tables = _package(project) / "tables.py"
    text = tables.read_text("utf-8")
    if metadata := METADATA.search(text):
        declared = REVISION.sub("", metadata[0])
        tables.write_text(text[: metadata.start()] + declared, "utf-8")
    if project.seed:
        (project.folder / project.seed).write_text("-- Rows for `make run SEED=1`.\n", "utf-8")
    _tidy(project, tables)


def _package(project: Project) -> Path:
    return project.folder.joinpath("src", *project.package.split("."))


def _without_word(text: str, name: str) -> tuple[str, bool]:
    """Return app.py without `name` in its import and in RESOURCES, and whether both had it."""
    found = []

    def others(match: re.Match[str]) -> str:
        words = [word.strip() for word in match[2].split(",")]
        found.append(name in words)
        left = [word for word in words if word not in ("", name)]
        comma = "," if match[3] and len(left) == 1 else ""
        return f"{match[1]}{', '.join(left)}{comma}{match[3]}\n" if left or match[3] else ""

    text = RESOURCES.sub(others, IMPORT.sub(others, text))
    return text, found == [True, True]


def _tidy(project: Project, *files: Path) -> None:
    """Remove unused imports and format, where ruff is installed."""
    ruff = [sys.executable, "-m", "ruff"]
    for command in (["check", "--fix", "--quiet"], ["format", "--quiet"]):
        subprocess.run([*ruff, *command, *map(str, files)], cwd=project.folder, check=False)
