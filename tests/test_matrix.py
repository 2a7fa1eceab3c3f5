"""Every combination of the options renders, compiles, is formatted, linted, typed and clean."""

import ast
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from .baking import ROOT, SWITCHES, bake, combinations, name_of, text_files
from .conftest import Shared
from .environments import install, run

# Words that must not occur, in a name or a text, when the answer is not the one on the left.
FOREIGN_WORDS: dict[tuple[str, Any], str] = {
    ("use_auth0", True): r"(?i)auth0|jwks|\bjwt\.|pyjwt|read:books",
    ("use_slack", True): r"(?i)slack|webhook",
    ("ci", "github"): r"GitHub|\.github",
    ("ci", "gitlab"): r"GitLab|\.gitlab|parallel:",
}
LEFTOVERS = re.compile(r"\{%|%\}|\{#|cookiecutter|\{\{(?! *(github|matrix)\b)")


class Matrix:
    """All combinations, side by side in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.projects = {
            name_of(answers): (answers, folder / name_of(answers) / "my-service")
            for answers in combinations()
        }


def render_all(folder: Path) -> None:
    """Render every combination into a folder of its own."""
    for answers in combinations():
        bake(folder / name_of(answers), **answers)


def install_all(folder: Path) -> None:
    """Install the dependencies of all options, but not the service."""
    install(bake(folder, **dict.fromkeys(SWITCHES, True)), "--no-install-project")


@pytest.fixture(scope="session")
def matrix(shared: Shared) -> Matrix:
    return Matrix(shared("matrix", render_all))


@pytest.fixture(scope="session")
def commands(shared: Shared) -> Path:
    """The commands of an environment with the dependencies of every option."""
    return shared("dependencies", install_all) / "my-service" / ".venv" / "bin"


def test_python_files_compile(matrix: Matrix) -> None:
    for path in text_files(matrix.folder):
        if path.suffix == ".py":
            ast.parse(path.read_text(), path)


def test_python_files_are_formatted(matrix: Matrix, commands: Path) -> None:
    run(matrix.folder, commands / "ruff", "format", "--no-cache", "--check", ".")


def test_python_files_are_linted(matrix: Matrix, commands: Path) -> None:
    run(matrix.folder, commands / "ruff", "check", "--no-cache", ".")


@pytest.mark.parametrize("slug", ["ab", "z-service", "a" * 20])
def test_format_and_lint_do_not_depend_on_the_name(
    slug: str, tmp_path: Path, commands: Path
) -> None:
    project = bake(tmp_path, project_slug=slug)
    run(project, commands / "ruff", "format", "--no-cache", "--check", ".")
    run(project, commands / "ruff", "check", "--no-cache", ".")


def test_types_are_right_under_strict(matrix: Matrix, commands: Path, tmp_path: Path) -> None:
    """Each combination at the same path, so that mypy checks again only what differs."""
    project = tmp_path / "project"
    for name, (answers, rendered) in matrix.projects.items():
        if answers["ci"] != "none":
            continue
        shutil.rmtree(project, ignore_errors=True)
        shutil.copytree(rendered, project)
        cache = f"--cache-dir={tmp_path / 'cache'}"
        output = run(project, commands / "mypy", cache, check=False)
        assert output.startswith("Success"), f"{name}: {output}"


def test_nothing_of_the_template_is_left(matrix: Matrix) -> None:
    for path in text_files(matrix.folder):
        found = LEFTOVERS.search(path.read_text())
        assert found is None, f"{found!r} in {path.relative_to(matrix.folder)}"


def words_of(path: Path, project: Path) -> str:
    """Return the name of a file of `project` with its text."""
    return f"{path.relative_to(project)}\n{path.read_text()}"


@pytest.mark.parametrize(("question", "answer"), FOREIGN_WORDS)
def test_a_declined_feature_leaves_no_word_behind(
    question: str, answer: object, matrix: Matrix
) -> None:
    word = re.compile(FOREIGN_WORDS[question, answer])
    for answers, project in matrix.projects.values():
        if answers[question] == answer:
            continue
        for path in text_files(project):
            found = word.search(words_of(path, project))
            assert found is None, f"{found!r} in {path.relative_to(matrix.folder)}"


@pytest.mark.parametrize(("question", "answer"), FOREIGN_WORDS)
def test_an_accepted_feature_is_there(question: str, answer: object, matrix: Matrix) -> None:
    word = re.compile(FOREIGN_WORDS[question, answer])
    for answers, project in matrix.projects.values():
        if answers[question] == answer:
            assert any(word.search(words_of(path, project)) for path in text_files(project))


def test_no_empty_folder_is_left(matrix: Matrix) -> None:
    for path in matrix.folder.rglob("*"):
        assert path.is_file() or any(path.iterdir()), path


def test_every_switch_has_foreign_words() -> None:
    assert {question for question, _ in FOREIGN_WORDS} == {*SWITCHES, "ci"}


def test_the_hook_deletes_what_exists(matrix: Matrix) -> None:
    """A path that was moved would otherwise stay in projects that declined it."""
    hook: dict[str, Any] = {}
    source = (ROOT / "hooks" / "post_gen_project.py").read_text()
    exec(re.sub(r'r"""\{\{.*\}\}"""', '\'{"folder": ""}\'', source), hook)
    for (question, answer), paths in hook["DECLINED"].items():
        for path in paths:
            kept = [
                (p / path).exists() for a, p in matrix.projects.values() if a[question] == answer
            ]
            assert all(kept), path
            assert kept, path
