"""The tutorial leads from a rendered service to a resource of one's own, with its very blocks."""

import shutil
from pathlib import Path

from .environments import install, run
from .guides import blocks_of, check, commands_of, write

UNNEEDED = shutil.ignore_patterns(".venv", ".nox", ".postgres", ".*cache*", "__pycache__")
ELSEWHERE = ("make new", "cd ", "make run")  # the service is rendered here, and serves elsewhere


def test_the_tutorial_ends_with_a_green_service(default_project: Path, tmp_path: Path) -> None:
    project = tmp_path / "my-service"
    shutil.copytree(default_project, project, ignore=UNNEEDED)
    install(project)
    for block in blocks_of("tutorial.md"):
        if block.title:
            made = block.title.startswith("migrations/")  # by the command before
            assert not made or (project / block.title).exists()
            write(project, block)
        for command in commands_of(block):
            if command == "make check":
                check(project)
            elif not command.startswith(ELSEWHERE):
                run(project, "sh", "-c", command)
    assert "class PublisherColumns" in (project / "src/my_service/tables.py").read_text("utf-8")
