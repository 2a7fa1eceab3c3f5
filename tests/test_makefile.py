"""The service's Makefile: its targets pass on what they are given, and run none of it."""

import os
import subprocess
from pathlib import Path

import pytest

from .baking import bake
from .conftest import Shared

VARIABLES = ("ARGS", "PORT", "SCOPES", "VERSION", "m")
HOSTILE = "a\"b'c; touch $(shell touch made) $$(touch run) `touch run` é"


@pytest.fixture(scope="session")
def makefile(shared: Shared) -> Path:
    """That of the service of the default answers, which is not installed."""

    def render(folder: Path) -> None:
        bake(folder)

    return shared("makefile", render) / "my-service" / "Makefile"


@pytest.fixture
def arguments(tmp_path: Path) -> Path:
    """A `uv` and a `dalkit` on the PATH write what they get into this file, one a line."""
    (tmp_path / "bin").mkdir()
    for name, first in (("uv", ""), ("dalkit", "dalkit ")):
        program = tmp_path / "bin" / name
        script = f"#!/bin/sh\nprintf '%s\\n' {first}\"$@\" > '{tmp_path}/arguments'\n"
        program.write_text(script)
        program.chmod(0o755)
    return tmp_path / "arguments"


def make(makefile: Path, arguments: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run `make` on the service's Makefile in the folder of `arguments`."""
    folder = arguments.parent
    # An outer `make test ARGS=...` hands on its variables, and has an inner one tell where it goes.
    names = [name for name in os.environ if name.startswith("MAKE") or name in VARIABLES]
    outside = {name: value for name, value in os.environ.items() if name not in names}
    environment = outside | {"PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(
        ["make", "-s", "-f", str(makefile), *command],
        cwd=folder,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("target", "variable", "given"),
    [
        ("revision", "m", f"--message={HOSTILE}"),
        ("token", "SCOPES", HOSTILE),
        ("update", "VERSION", HOSTILE),
        ("resource", "TABLE", HOSTILE),
        ("resource-rm", "NAME", HOSTILE),
    ],
)
def test_nothing_of_what_it_is_given_is_run(
    target: str, variable: str, given: str, makefile: Path, arguments: Path
) -> None:
    result = make(makefile, arguments, target, f"{variable}={HOSTILE}")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert arguments.read_text().splitlines()[-1] == given
    assert {path.name for path in arguments.parent.iterdir()} == {"bin", "arguments"}


def test_a_migration_needs_a_message(makefile: Path, arguments: Path) -> None:
    result = make(makefile, arguments, "revision")
    assert result.returncode == 2
    assert result.stderr.splitlines()[0] == 'Say what it changes: make revision m="add price"'
    assert not arguments.exists()


@pytest.mark.parametrize(
    ("command", "passed"),
    [
        (["migrate"], "with-database -- my-service db sync"),
        (["db", "ARGS=tables --check"], "with-database -- my-service db tables --check"),
        (["run", "PORT=8123"], "run --port 8123"),
        (["resource", "TABLE=a b"], "resource add --name --key -- a b"),
        (["resource", "TABLE=v", "KEY=a,b", "NAME=vs"], "resource add --name vs --key a,b -- v"),
        (["resource-rm", "NAME=books"], "resource remove -- books"),
        (["update"], "update --"),
        (["update", "VERSION=v0.3.0", "ARGS=--from v0.1.0"], "update --from v0.1.0 -- v0.3.0"),
        (["token", "SCOPES=read:books"], "token -- read:books"),
    ],
)
def test_commands_are_those_of_dalkit(
    command: list[str], passed: str, makefile: Path, arguments: Path
) -> None:
    assert make(makefile, arguments, *command).returncode == 0
    called = " ".join(arguments.read_text().split())
    assert called.removeprefix("run ") == f"dalkit {passed}"
