"""Renders the template the way its users do, through cookiecutter's API."""

import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from cookiecutter.main import cookiecutter

ROOT = Path(__file__).resolve().parents[1]
PROJECT = ROOT / "{{cookiecutter.project_slug}}"
PACKAGE = PROJECT / "src" / "{{cookiecutter.__package_name}}"
QUESTIONS: dict[str, Any] = json.loads((ROOT / "cookiecutter.json").read_text())
SWITCHES = [name for name, default in QUESTIONS.items() if isinstance(default, bool)]

Answers = dict[str, Any]


def bake(output_dir: Path, **answers: Any) -> Path:
    """Return the folder of a project rendered into `output_dir`; raises cookiecutter's exceptions.

    The user's own defaults do not count, and nothing is written into the home folder.
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    path = cookiecutter(
        str(ROOT),
        no_input=True,
        extra_context=answers,
        output_dir=str(output_dir),
        default_config={"replay_dir": str(ROOT / ".cache" / "replay")},
    )
    return Path(path)


def combinations() -> Iterator[Answers]:
    """Yield every combination of the switches and `ci`, with the licenses in turn."""
    licenses = itertools.cycle(QUESTIONS["license"])
    for values in itertools.product([True, False], repeat=len(SWITCHES)):
        for ci in QUESTIONS["ci"]:
            switches = dict(zip(SWITCHES, values, strict=True))
            yield {**switches, "ci": ci, "license": next(licenses)}


def services() -> list[Answers]:
    """Return every combination of the switches."""
    return [
        dict(zip(SWITCHES, values, strict=True))
        for values in itertools.product([True, False], repeat=len(SWITCHES))
    ]


def name_of(answers: Answers) -> str:
    """Return a short name for a combination, such as `auth0-github`."""
    on = [name.removeprefix("use_") for name, value in answers.items() if value is True]
    rest = [str(value) for value in answers.values() if not isinstance(value, bool)]
    return "-".join([*(on or ["nothing"]), *rest]).lower()


def text_files(project: Path) -> Iterable[Path]:
    """Return the files of a rendered project, without the library, environments and caches.

    And without cruft's record of all answers, which names what was declined.
    """
    ignored = {
        ".cruft.json",
        "packages",
        ".venv",
        ".nox",
        "__pycache__",
        ".mypy_cache",
        ".ruff_cache",
        ".pytest_cache",
    }
    return (
        path
        for path in sorted(project.rglob("*"))
        if path.is_file() and not ignored & set(path.relative_to(project).parts)
    )
