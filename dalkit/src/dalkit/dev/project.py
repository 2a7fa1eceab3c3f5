"""The service that a command of `dalkit` works for."""

import json
import os
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dotenv import dotenv_values


@dataclass(frozen=True)
class Project:
    """A folder whose pyproject.toml has a table `tool.dalkit` with the name of the package."""

    folder: Path
    package: str
    seed: str | None = None

    @property
    def database(self) -> str:
        return self.package.replace(".", "_")

    @property
    def data_dir(self) -> Path:
        return self.folder / ".postgres" / "data"

    @property
    def issuers(self) -> Path:
        """Where a running development issuer leaves its URL, in a file named after the port."""
        return self.folder / ".cache" / "issuers"

    @property
    def scopes(self) -> list[str]:
        """All scopes that openapi.json names; none when there is no such file."""
        try:
            document = json.loads((self.folder / "openapi.json").read_text("utf-8"))
            schemes = document["components"]["securitySchemes"].values()
        except (OSError, ValueError, KeyError):
            return []
        flows = [flow for one in schemes for flow in one.get("flows", {}).values()]
        return sorted({scope for flow in flows for scope in flow.get("scopes", ())})

    def environment(self) -> dict[str, str]:
        """Return what the service would see: the process's variables over those of .env."""
        values = dotenv_values(self.folder / ".env").items()
        return {name: value for name, value in values if value is not None} | dict(os.environ)


def find_project(start: Path | None = None) -> Project:
    """Return the project around `start` (the working directory); exits with a sentence if none."""
    start = (start or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        table = read_toml(folder / "pyproject.toml").get("tool", {}).get("dalkit", {})
        if "package" in table:
            return Project(folder, table["package"], table.get("seed"))
    sys.exit(
        f"No pyproject.toml with [tool.dalkit] package in {start} or above: "
        "run the command in the folder of the service."
    )


def read_toml(path: Path) -> dict[str, Any]:
    """Return what the file says, nothing if there is none; exits with a sentence if it cannot."""
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        return {}
    except tomllib.TOMLDecodeError as error:
        sys.exit(f"{path} is not valid TOML: {error}.")
