"""What the guide to extending says is done in a service, without a change of the library."""

import shutil
from pathlib import Path

from .environments import install, run
from .guides import blocks_of, check, commands_of, write

UNNEEDED = shutil.ignore_patterns(".venv", ".nox", ".postgres", ".*cache*", "__pycache__")


def test_a_service_is_extended_as_the_guide_says(default_project: Path, tmp_path: Path) -> None:
    project = tmp_path / "my-service"
    shutil.copytree(default_project, project, ignore=UNNEEDED)
    install(project)
    commands = []
    for block in blocks_of("extending.md"):
        if block.title:
            write(project, block)
        commands += commands_of(block)
    for command in commands:
        output = run(project, "sh", "-c", command)
    assert output.splitlines()[-1] == "0"  # books
    check(project)
