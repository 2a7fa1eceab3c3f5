"""Runs commands of a generated project, in its own environment."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

#: What `make` installs where there is no uv on the PATH, with the index that it goes by.
OWN_UV = Path(__file__).parents[1] / ".tools" / "bin" / "uv"
#: `uv run` names itself.
UV = os.environ.get("UV") or shutil.which("uv") or (str(OWN_UV) if OWN_UV.exists() else "uv")

# Variables of this test run and of the developer's machine that no project should see.
FOREIGN = ("DATABASE_", "TEST_DATABASE_", "AUTH0_", "SLACK_", "PYTEST_", "NOX_")
# What an outer `make ARGS=...`, an activated environment or a developer would have them see.
UNWANTED = (
    *("VIRTUAL_ENV", "PYTHONPATH", "ENVIRONMENT", "UV_PROJECT_ENVIRONMENT"),
    *("MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "ARGS", "PORT"),
)


def environment(**variables: str) -> dict[str, str]:
    """Return this process's environment as that of a reader with uv installed, with `variables`."""
    ours = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}
    for name in UNWANTED:
        ours.pop(name, None)
    folder = [str(Path(UV).parent)] if shutil.which(UV) else []
    path = os.pathsep.join([*folder, ours.get("PATH", os.defpath)])
    if Path(UV) == OWN_UV:
        ours["UV_CONFIG_FILE"] = str(OWN_UV.parents[1] / "uv.toml")
    return ours | {"PATH": path} | variables


def require_uv() -> None:
    """Skip the test where there is no uv."""
    if shutil.which(UV) is None:
        pytest.skip("There is no uv: install it, or run `make test-template`, which does.")


def run(project: Path, *command: str | Path, check: bool = True, **variables: str) -> str:
    """Return the output of `command`, run in `project`; fails with that output."""
    if command[0] == UV:
        require_uv()
    result = subprocess.run(
        [str(part) for part in command],
        cwd=project,
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if check and result.returncode:
        raise AssertionError(f"{command} ended with {result.returncode}:\n{result.stdout[-8000:]}")
    return result.stdout


def install(project: Path, *options: str) -> None:
    """Install `project` into its own .venv."""
    run(project, UV, "sync", "--quiet", *options)
