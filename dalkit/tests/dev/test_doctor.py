"""`dalkit doctor`: an edited packages/dalkit, another version, a missing extra, an old Python."""

import platform
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from dalkit.dev import manifest
from dalkit.dev.doctor import TEMPLATE, problems_of, satisfies, verdict_of
from dalkit.dev.manifest import write_manifest

from tests.paths import PROJECT

INSTALLED = version("dalkit")
FINE = f"packages/dalkit is as released ({INSTALLED})."
HOOK = """
import runpy, sys
from pathlib import Path
runpy.run_path(sys.argv[1])["write_manifest"](Path(sys.argv[2]))
"""
COMMAND = [str(Path(sys.executable).with_name("dalkit")), "doctor"]


@pytest.fixture
def service(tmp_path: Path) -> Path:
    """A service with a packages/dalkit as the template leaves it."""
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nrequires-python = ">=3.11"\n'
        f'dependencies = ["httpx", "dalkit[auth0,otel]>=0.1,<={INSTALLED}"]\n'
        '[tool.dalkit]\npackage = "my_service"\n'
    )
    write(tmp_path / "src" / "my_service" / "app.py", "from dalkit.auth import Auth0\n")
    carried = tmp_path / "packages" / "dalkit"
    shutil.copytree(PROJECT / "src" / "dalkit" / "dev", carried / "src" / "dalkit" / "dev")
    shutil.copy(PROJECT / "pyproject.toml", carried)
    write_manifest(carried)
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_what_was_carried_over_is_as_released(service: Path) -> None:
    result = subprocess.run(COMMAND, cwd=service, check=False, capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, f"{FINE}\n", "")


def test_neither_line_endings_nor_what_python_makes_are_edits(service: Path) -> None:
    carried = service / "packages" / "dalkit"
    for file in carried.rglob("*.py"):
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    for name in ("src/dalkit/__pycache__/cli.cpython-311.pyc", "dist/dalkit-0.1.0.tar.gz"):
        write(carried / name, "made")
    write(carried / "src/dalkit.egg-info/PKG-INFO", "made")
    write(carried / ".ruff_cache/.gitignore", "made")
    assert problems_of(service) == []


def test_what_was_changed_is_named_with_the_consequence(service: Path) -> None:
    carried = service / "packages" / "dalkit"
    write(carried / "src/dalkit/dev/run.py", "edited")
    write(carried / "src/dalkit/mine.py", "added")
    (carried / "src/dalkit/dev/issuer.py").unlink()
    result = subprocess.run(COMMAND, cwd=service, check=False, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stdout == (
        "packages/dalkit is not as released (edited src/dalkit/dev/run.py; added"
        " src/dalkit/mine.py; removed src/dalkit/dev/issuer.py): a newer release"
        " replaces the folder, and your change with it, so `make update` refuses. Bring it upstream"
        " and git checkout packages/dalkit, or keep a fork.\n"
    )


@pytest.mark.parametrize(("of_template", "behind"), [("0.1.9", True), (TEMPLATE, False)])
def test_a_service_of_an_older_template_is_told_of_make_update(
    service: Path, of_template: str, behind: bool
) -> None:
    """It is no problem: nobody has to update today."""
    with (service / "pyproject.toml").open("a") as file:
        file.write(f'[tool.dalkit.template]\nversion = "{of_template}"\n')
    assert problems_of(service) == []
    assert verdict_of(service).endswith(f" came with {TEMPLATE}: make update.") is behind


@pytest.mark.parametrize("damage", ["gone", "empty", "of something else"])
def test_a_manifest_that_cannot_be_read_is_a_problem(service: Path, damage: str) -> None:
    file = service / "packages" / "dalkit" / "MANIFEST"
    if damage == "gone":
        file.unlink()
    else:
        file.write_text("" if damage == "empty" else "# dalkit 0.1.0\nnothing\n")
    [problem] = problems_of(service)
    assert problem.startswith("packages/dalkit/MANIFEST is missing or damaged")
    assert "git checkout packages/dalkit/MANIFEST" in problem


def test_a_folder_that_is_gone_is_a_problem(service: Path) -> None:
    shutil.rmtree(service / "packages")
    assert problems_of(service) == []
    with (service / "pyproject.toml").open("a") as file:
        file.write('[tool.uv.sources]\ndalkit = { path = "packages/dalkit" }\n')
    [problem] = problems_of(service)
    assert problem == (
        "pyproject.toml says that dalkit is in packages/dalkit, which is not there: git checkout"
        " packages/dalkit, or delete the line."
    )


def test_another_version_than_the_folders_is_a_problem(service: Path) -> None:
    carried = service / "packages" / "dalkit"
    text = (carried / "pyproject.toml").read_text()
    (carried / "pyproject.toml").write_text(text.replace(f'"{INSTALLED}"', '"0.9.0"'))
    write_manifest(carried)
    [problem] = problems_of(service)
    assert problem == (
        f"dalkit {INSTALLED} is installed, and packages/dalkit is 0.9.0: install it"
        " (uv sync --reinstall-package dalkit)."
    )


def test_another_version_than_the_service_asks_for_is_a_problem(service: Path) -> None:
    pyproject = service / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace(">=0.1,", ">=0.99,"))
    [problem] = problems_of(service)
    assert problem.startswith(f"dalkit {INSTALLED} is installed, and pyproject.toml needs dalkit[")


@pytest.mark.parametrize(
    "line",
    [
        "import dalkit.auth",
        "from dalkit import auth",
        "from dalkit.auth.user import User",
        "async def f() -> None:\n    from dalkit.auth import User\n",
        'pytest_plugins = ["dalkit.auth"]',
    ],
)
def test_a_missing_extra_is_a_problem_where_the_code_needs_it(
    service: Path, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(service / "src" / "my_service" / "app.py", "import dalkit.authority, auth  # not these")
    monkeypatch.setitem(sys.modules, "jwt", None)
    assert problems_of(service) == []
    write(service / "tests" / "conftest.py", line)
    write(service / "tests" / "test_unfinished.py", "def (")
    [problem] = problems_of(service)
    assert problem == (
        "tests/conftest.py uses dalkit.auth, which needs the extra auth0: add it to dalkit[...] in"
        " pyproject.toml and install again."
    )


def test_an_old_python_is_a_problem(service: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "python_version", lambda: "3.10.2")
    [problem] = problems_of(service)
    assert problem.startswith("This is Python 3.10.2, and the service needs >=3.11: ")


@pytest.mark.parametrize(
    ("version", "specifiers", "expected"),
    [
        ("0.1.0", "", True),
        ("0.1.0", ">=0.1", True),
        ("0.10.0", ">=0.9,<1", True),
        ("1.0.0", ">=0.9,<1", False),
        ("1.0", "==1.0.0", True),
        ("1.0", "!=1", False),
        ("3.14.0rc1", ">=3.11", True),
        ("1.0", "~=2.0", True),  # not understood, so not complained about
    ],
)
def test_versions_are_compared_by_their_numbers(
    version: str, specifiers: str, expected: bool
) -> None:
    assert satisfies(version, specifiers) is expected


def test_the_file_that_makes_the_manifest_needs_nothing_but_python(service: Path) -> None:
    """The template's hook runs it by its path, under a Python without dalkit's dependencies."""
    carried = service / "packages" / "dalkit"
    before = (carried / "MANIFEST").read_bytes()
    (carried / "MANIFEST").unlink()
    command = [sys.executable, "-I", "-S", "-c", HOOK, str(manifest.__file__), str(carried)]
    subprocess.run(command, check=True)
    assert (carried / "MANIFEST").read_bytes() == before
    assert before.startswith(f"# dalkit {INSTALLED}\n".encode())
