"""The Makefile's targets pass on what they are given, and run none of it."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.dev.processes import PROJECT

VARIABLES = ("ARGS", "PORT", "SCOPES", "m")
HOSTILE = "a\"b'c; touch $(shell touch made) $$(touch run) `touch run` é"


@pytest.fixture
def arguments(tmp_path: Path) -> Path:
    """A `uv` on the PATH writes the arguments that it gets into this file, one a line."""
    uv = tmp_path / "bin" / "uv"
    uv.parent.mkdir()
    uv.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" > '{tmp_path}/arguments'\n")
    uv.chmod(0o755)
    return tmp_path / "arguments"


def make(arguments: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run `make` on the project's Makefile in the folder of `arguments`."""
    folder = arguments.parent
    # An outer `make test ARGS=...` hands on its variables, and has an inner one tell where it goes.
    names = [name for name in os.environ if name.startswith("MAKE") or name in VARIABLES]
    outside = {name: value for name, value in os.environ.items() if name not in names}
    environment = outside | {"PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(
        ["make", "-s", "-f", str(PROJECT / "Makefile"), *command],
        cwd=folder,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("target", ["revision", "token"])
def test_nothing_of_what_it_is_given_is_run(target: str, arguments: Path) -> None:
    name = {"revision": "m", "token": "SCOPES"}[target]
    if f"\n{target}:" not in (PROJECT / "Makefile").read_text():
        pytest.skip("declined")
    result = make(arguments, target, f"{name}={HOSTILE}")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert arguments.read_text().splitlines()[-1].removeprefix("--message=") == HOSTILE
    assert {path.name for path in arguments.parent.iterdir()} == {"bin", "arguments"}


def test_a_migration_needs_a_message(arguments: Path) -> None:
    result = make(arguments, "revision")
    assert result.returncode == 2
    assert result.stderr.splitlines()[0] == 'Say what it changes: make revision m="add price"'
    assert not arguments.exists()


@pytest.mark.parametrize("command", [["migrate"], ["db", "ARGS=tables --json"]])
def test_commands_get_a_database(command: list[str], arguments: Path) -> None:
    assert make(arguments, *command).returncode == 0
    words = arguments.read_text().split()
    assert words[:5] == ["run", "python", "-m", "dev.with_database", "--"]
    assert words[6:] == (["db", "sync"] if command == ["migrate"] else ["db", "tables", "--json"])
