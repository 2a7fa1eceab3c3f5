"""The library reaches a generated service, wherever the template is taken from."""

import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from .baking import ROOT, bake
from .environments import run
from .releases import copy_of_template, generate

CARRIED = ("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "docs", "src")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template as a repository of its own, with all that is not committed yet."""
    return copy_of_template(tmp_path_factory.mktemp("origin") / "template with a space é")


def carried(project: Path) -> dict[str, str]:
    """Return the digests of the files below packages/dalkit by their paths."""
    library = project / "packages" / "dalkit"
    return {
        path.relative_to(library).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in library.rglob("*")
        if path.is_file() and path.name != "MANIFEST"
    }


def original() -> dict[str, str]:
    """Return the same of the library itself."""
    library = ROOT / "dalkit"
    return {
        path.relative_to(library).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for name in CARRIED
        for path in [library / name, *(library / name).rglob("*")]
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_from_a_path(tmp_path: Path) -> None:
    assert carried(bake(tmp_path)) == original()


def test_from_a_repository(tmp_path: Path, checkout: Path) -> None:
    assert carried(generate(f"git+file://{checkout}", tmp_path)) == original()


def test_from_a_zip(tmp_path: Path, checkout: Path) -> None:
    archive = tmp_path / "template.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in [checkout, *sorted(checkout.rglob("*"))]:
            if ".git" not in path.relative_to(checkout).parts:
                file.write(path, f"template/{path.relative_to(checkout)}")
    assert carried(generate(str(archive), tmp_path)) == original()


def test_under_cruft(tmp_path: Path, checkout: Path) -> None:
    command = (sys.executable, "-m", "cruft", "create", "--no-input", "--output-dir", str(tmp_path))
    run(tmp_path, *command, f"file://{checkout}", HOME=str(tmp_path))
    project = tmp_path / "my-service"
    assert carried(project) == original()
    state = json.loads((project / ".cruft.json").read_text())
    assert state["template"].endswith(str(checkout))


def test_the_manifest_is_what_sha256sum_checks(tmp_path: Path) -> None:
    library = bake(tmp_path) / "packages" / "dalkit"
    listed = [
        line.split("  ", 1)[1]
        for line in (library / "MANIFEST").read_text().splitlines()
        if not line.startswith("#")
    ]
    assert sorted(listed) == sorted(original())
    subprocess.run(
        ["sha256sum", "--check", "--quiet", "--ignore-missing", "MANIFEST"],
        cwd=library,
        check=True,
        stderr=subprocess.DEVNULL,
    )


def test_the_service_records_what_it_was_generated_from(checkout: Path, tmp_path: Path) -> None:
    project = generate(f"git+file://{checkout}", tmp_path)
    text = (project / "pyproject.toml").read_text()
    assert f'address = "git+file://{checkout}"' in text
    version = json.loads((ROOT / "cookiecutter.json").read_text())["__template_version"]
    assert f'version = "{version}"' in text
    assert f'version = "{version}"' in (ROOT / "pyproject.toml").read_text()
