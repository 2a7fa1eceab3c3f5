"""What the template's own files may contain, and that rendering is deterministic."""

import ast
import re
from pathlib import Path

import pytest

from .baking import PACKAGE, PROJECT, bake, text_files

WITH_STATEMENTS = {PACKAGE / "app.py", PACKAGE / "settings.py"}
PYTHON_FILES = [path for path in PROJECT.rglob("*.py") if ".venv" not in path.parts]


@pytest.mark.parametrize("path", PYTHON_FILES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_python_has_jinja_only_where_it_is_allowed(path: Path) -> None:
    if path in WITH_STATEMENTS:
        return
    source = path.read_text()
    assert not re.search(r"\{%|%\}|\{#", source)
    if path.is_relative_to(PACKAGE):
        assert "{{" not in source
        ast.parse(source, path)
    else:
        assert set(re.findall(r"\{\{.*?\}\}", source)) <= {"{{ cookiecutter.__package_name }}"}


def test_two_renders_are_byte_equal(tmp_path: Path) -> None:
    first, second = bake(tmp_path / "first"), bake(tmp_path / "second")
    one, two = (
        {path.relative_to(project): path.read_bytes() for path in text_files(project)}
        for project in (first, second)
    )
    assert one == two
    assert one


def test_no_absolute_import_of_the_package_in_itself() -> None:
    for path in PACKAGE.rglob("*.py"):
        assert "cookiecutter.__package_name" not in path.read_text(), path
