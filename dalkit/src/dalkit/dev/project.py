"""The service that a command of `dalkit` works for."""

from __future__ import annotations

import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Project:
    """A folder whose pyproject.toml has a table `tool.dalkit` with the name of the package."""

    folder: Path
    package: str
    seed: str | None = None

    @property
    def data_dir(self) -> Path:
        """Where the development database keeps its data."""
        return self.folder / ".postgres" / "data"

    @property
    def issuers(self) -> Path:
        """Where a running development issuer leaves its URL, in a file named after the port."""
        return self.folder / ".cache" / "issuers"


def find_project(start: Path | None = None) -> Project:
    """Return the project around `start` (the working directory); exits with a sentence if none."""
    start = (start or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        if table := _table(folder / "pyproject.toml"):
            return Project(folder, table["package"], table.get("seed"))
    sys.exit(
        f"No pyproject.toml with [tool.dalkit] package in {start} or above: "
        "run the command in the folder of the service."
    )


def _table(path: Path) -> dict[str, str]:
    try:
        with path.open("rb") as file:
            table: dict[str, str] = tomllib.load(file).get("tool", {}).get("dalkit", {})
    except FileNotFoundError:
        return {}
    except tomllib.TOMLDecodeError as error:
        sys.exit(f"{path} is not valid TOML: {error}.")
    return table if "package" in table else {}
