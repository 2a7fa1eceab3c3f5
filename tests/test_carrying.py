"""The library reaches a generated service, wherever the template is taken from."""

import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from template_extensions import without_credentials

from .baking import ROOT, bake
from .environments import run
from .releases import UNNEEDED, VERSION, copy_of_template, generate

CRUFT = (sys.executable, "-m", "cruft")
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
    command = ("create", "--no-input", "--output-dir", str(tmp_path))
    run(tmp_path, *CRUFT, *command, f"file://{checkout}", HOME=str(tmp_path))
    project = tmp_path / "my-service"
    assert carried(project) == original()
    state = json.loads((project / ".cruft.json").read_text())
    assert state["template"].endswith(str(checkout))


def record(project: Path) -> dict[str, Any]:
    """Return what cruft and `make update` go by."""
    state: dict[str, Any] = json.loads((project / ".cruft.json").read_text())
    return state


def archive(checkout: Path, folder: Path) -> Path:
    """Pack the template as git's servers do for a download."""
    path = folder / "downloaded.zip"
    run(checkout, "git", "archive", "--prefix=template/", f"--output={path}", "HEAD")
    return path


def test_every_way_leaves_what_an_update_goes_by(tmp_path: Path, checkout: Path) -> None:
    commit = run(checkout, "git", "rev-parse", "HEAD").strip()
    create = ("create", "--no-input", "--default-config")
    run(tmp_path, *CRUFT, *create, str(checkout), HOME=str(tmp_path))
    reference = record(tmp_path / "my-service")
    public = {
        name: answer
        for name, answer in reference["context"]["cookiecutter"].items()
        if not name.startswith("_")
    }
    for number, (source, address) in enumerate(
        [
            (str(checkout), str(checkout)),
            (f"git+file://{checkout}", f"file://{checkout}"),
            (str(archive(checkout, tmp_path)), str(tmp_path / "downloaded.zip")),
        ]
    ):
        (tmp_path / str(number)).mkdir()
        found = record(generate(source, tmp_path / str(number)))
        assert (found["template"], found["commit"]) == (address, commit)
        answers = found["context"]["cookiecutter"]
        assert answers == public | {"_template": address, "_commit": commit}
        assert found.keys() == reference.keys()
    run(tmp_path / "0" / "out" / "my-service", *CRUFT, "diff", "--exit-code")


def test_where_the_commit_is_not_known_the_tag_of_the_version_stands_for_it(
    tmp_path: Path, checkout: Path
) -> None:
    """As in a copy without .git, also one within another repository."""
    shutil.copytree(checkout, tmp_path / "copy", ignore=UNNEEDED)
    run(tmp_path, "git", "init", "--quiet")
    found = record(generate(str(tmp_path / "copy"), tmp_path))
    assert found["commit"] == f"v{VERSION}"
    assert found["template"] == str(tmp_path / "copy")


def test_a_clone_records_where_it_is_from_and_no_password(tmp_path: Path, checkout: Path) -> None:
    clone = tmp_path / "clone"
    run(tmp_path, "git", "clone", "--quiet", checkout, clone)
    url = "https://{}git.example.com/template.git"
    run(clone, "git", "remote", "set-url", "origin", url.format("user:secret@"))
    found = record(generate(str(clone), tmp_path))
    assert (found["template"], found["origin"]) == (str(clone), url.format(""))
    assert without_credentials(f"git+{url.format('token@')}") == f"git+{url.format('')}"
    assert without_credentials("ssh://git@example.com/a.git") == "ssh://git@example.com/a.git"


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
