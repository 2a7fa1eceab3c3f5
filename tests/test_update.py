"""A service is brought to another version of the template, and its owner resolves nothing."""

import shutil
import sys
from pathlib import Path

import pytest

from . import owner, releases
from .baking import ROOT
from .environments import UV, install, run
from .releases import commit, copy_of_template, generate

DALKIT = (Path(sys.executable).with_name("dalkit"),)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Today's template as a repository without tags, in a folder with a space."""
    return copy_of_template(tmp_path / "templates é 1" / "template")


def worked_on(source: str, folder: Path, *options: str) -> Path:
    """Return an installed service that its owner has worked on, all of it committed."""
    project = generate(source, folder, *options)
    install(project)
    owner.work(project)
    run(project, "git", "init", "--quiet")
    commit(project)
    return project


def require_merged(project: Path, output: str) -> None:
    """What holds after every update in which nothing is to be resolved."""
    assert "Next: make openapi" in output, output
    assert run(project, "git", "ls-files", "--unmerged") == ""
    assert not list(project.rglob("*.rej"))
    changed = run(project, "git", "diff", "--name-only", "HEAD").split()
    assert not [name for name in changed if "note" in name or "publisher" in name]
    for file, old, new in owner.EDITS:
        for line in set(new.splitlines()) - set(old.splitlines()):
            assert line.rstrip(",)") in (project / file).read_text("utf-8"), file
    for name in ("books", "authors"):
        assert not list(project.glob(f"[st]*/**/{name}"))
    assert not (project / "Dockerfile").exists()
    assert [path.name for path in project.glob("migrations/versions/0*")] == ["0001_note.py"]


def require_green(project: Path) -> None:
    """The tests, and what else `make check` runs in a moment, after what the command says."""
    run(project, "make", "openapi")
    for session in ("lint", "toolkit", "openapi"):
        run(project, UV, "run", "nox", "--session", session)
    assert " passed" in run(project, UV, "run", "pytest", "-q")


def test_from_today_to_a_second_version(repository: Path, tmp_path: Path) -> None:
    project = worked_on(str(repository), tmp_path)
    releases.write_second_version(repository)
    output = run(project, "make", "update")
    require_merged(project, output)
    assert f"Template {releases.VERSION} -> {releases.SECOND}: " in output
    assert "Mind the gap." in output
    for file, text in {
        "src/my_service/app.py": "redirect_slashes=False,  # 99",
        "src/my_service/settings.py": "Of 99",
        "compose.yaml": "postgres:99",
        "Makefile": "new-target",
        "pyproject.toml": "pretty = true",
        "README.md": "## Of 99",
    }.items():
        assert text in (project / file).read_text("utf-8")
    assert "99" not in (project / "seed.sql").read_text("utf-8")
    assert not (project / ".dockerignore").exists()
    assert not (project / "packages/dalkit/docs/speed.md").exists()
    require_green(project)  # with the test that the second version adds


def test_from_the_previous_release(repository: Path, tmp_path: Path) -> None:
    """By today's `dalkit update`, for a release of before it was there."""
    tag = releases.previous_release()
    if tag is None:
        pytest.skip("This clone has no tag of an earlier release: git fetch --tags")
    clone = tmp_path / "clone"
    run(tmp_path, "git", "clone", "--quiet", ROOT, clone)
    project = worked_on(f"git+file://{clone}", tmp_path, "--checkout", tag)
    for path in clone.iterdir():
        if path.name != ".git":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(repository, clone, ignore=releases.UNNEEDED, dirs_exist_ok=True)
    commit(clone)
    branch = run(clone, "git", "rev-parse", "--abbrev-ref", "HEAD").strip()
    update = ("dalkit", "update", branch)
    output = run(
        project, UV, "run", "--no-project", "--with-editable", str(ROOT / "dalkit"), *update
    )
    require_merged(project, output)
    assert f" -> {releases.VERSION}: " in output
    require_green(project)


def test_an_untouched_service_is_then_as_a_new_one(repository: Path, tmp_path: Path) -> None:
    """But for its database."""
    project = generate(str(repository), tmp_path)
    run(project, "git", "init", "--quiet")
    commit(project)
    releases.write_second_version(repository)
    run(project, *DALKIT, "update")
    (tmp_path / "new").mkdir()
    new = generate(str(repository), tmp_path / "new")
    one, other = contents(project), contents(new)
    different = {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)}
    assert different == {"migrations/versions/0099_of_99.py", "seed.sql"}


def contents(project: Path) -> dict[str, bytes]:
    """Return the content of each file, without those of git."""
    files = {path.relative_to(project): path for path in project.rglob("*") if path.is_file()}
    return {
        str(name): file.read_bytes() for name, file in files.items() if ".git" not in name.parts
    }
