"""A service of sqlalchemy-helpers becomes one of this template as the guide says."""

import shutil
from pathlib import Path

from .environments import UV, install, run
from .guides import blocks_of, commands_of, write

UNNEEDED = shutil.ignore_patterns(".venv", ".nox", ".postgres", ".*cache*", "__pycache__")


def test_a_service_moves_as_the_guide_says(default_project: Path, tmp_path: Path) -> None:
    project = tmp_path / "my-service"
    shutil.copytree(default_project, project, ignore=UNNEEDED)
    install(project)
    for block in blocks_of("from-sqlalchemy-helpers.md"):
        if block.title and not block.title.startswith("my_fastapi_app/"):  # the old service
            write(project, block)
        for command in commands_of(block):
            output = run(project, "sh", "-c", command)
    assert " passed" in output
    assert "class UsersColumns" in (project / "src/my_service/tables.py").read_text("utf-8")
    run(project, UV, "run", "ruff", "check")
    run(project, UV, "run", "ruff", "format", "--check")
