"""`make new`: answers are checked as they are given, and the end says what comes next."""

import subprocess
import sys
from pathlib import Path

import pytest

from .baking import ROOT
from .environments import environment

NO_SLUG = "is not lower-case letters and digits in words joined by '-', first a letter"
GOOD_JSON = "a good one is 'json-service'."


def new(folder: Path, *answers: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run it with these answers; those that are missing end the input."""
    return subprocess.run(
        [sys.executable, ROOT / "commands" / "new.py", folder],
        cwd=folder.parent,
        env=environment(HOME=str(folder.parent / "home"), **variables),
        input="\n".join([*answers, ""]),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder for services."""
    path = tmp_path / "our services é"
    path.mkdir()
    return path


def test_a_bad_answer_is_asked_for_again_at_once(folder: Path) -> None:
    """And the rest of the questions follow; what comes next can be typed as it stands."""
    ended = new(
        folder,
        *("Order Desk", "Order Desk", "json", "", "Takes orders.", "Ada", "nobody", "ada@b.org"),
        *("2", "n", "y", "3"),
    )
    refused = [line.split("; ") for line in ended.stderr.splitlines()]
    assert refused == [
        [f"project_slug 'Order Desk' {NO_SLUG}", "a good one is 'order-desk'."],
        ["project_slug 'json' shadows a module of the standard library", GOOD_JSON],
        ["author_email 'nobody' is not an e-mail address", "a good one is 'ada@example.com'."],
    ]
    assert ended.returncode == 0
    assert [path.name for path in folder.iterdir()] == ["order-desk"]
    commands = [line.partition("#")[0].strip() for line in ended.stdout.splitlines()[-3:]]
    assert commands == ["cd 'our services é/order-desk'", "make run SEED=1", "make check"]
    typed = f"{commands[0]} && make --dry-run run SEED=1 && make --dry-run check"
    subprocess.run(["sh", "-c", typed], cwd=folder.parent, check=True, capture_output=True)
    assert 'license = "Apache-2.0"' in (folder / "order-desk" / "pyproject.toml").read_text()


def test_a_service_that_is_there_stays_as_it_is(folder: Path) -> None:
    (folder / "my-service").mkdir()
    ended = new(folder, "", "")
    assert ended.stderr.splitlines() == [
        f"project_slug 'my-service': {folder}/my-service is there already; choose another.",
        "",
        "Nothing was generated.",
    ]
    assert (ended.returncode, list((folder / "my-service").iterdir())) == (1, [])


def test_without_colours_none_is_written(folder: Path) -> None:
    assert "\x1b" not in new(folder, "", "X Y", TERM="dumb", FORCE_COLOR="").stdout


def test_plain_cookiecutter_refuses_all_bad_answers_at_once_and_without_a_traceback(
    folder: Path,
) -> None:
    program = Path(sys.executable).with_name("cookiecutter")
    answers = ["project_slug=A B", "author_email=nobody", "description= "]
    ended = subprocess.run(
        [program, "--no-input", "--config-file=/dev/null", "--output-dir", folder, ROOT, *answers],
        env=environment(HOME=str(folder.parent / "home")),
        capture_output=True,
        text=True,
        check=False,
    )
    refused = (ended.stdout + ended.stderr).splitlines()
    assert [line.split()[0] for line in refused] == ["project_slug", "description", "author_email"]
    assert ended.returncode == 1
    assert list(folder.iterdir()) == []
