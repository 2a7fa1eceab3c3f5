"""`dalkit update`: what it merges, what it leaves alone, what it lists, and what it refuses."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dalkit.dev.template import Template, UpdateError, plain_address, read_record
from dalkit.dev.update import sections_between, update

from tests.dev.small_template import (
    BINARY,
    LINES,
    NEWER,
    SECOND,
    commit,
    contents,
    copy,
    generate,
    git,
    write,
    write_template,
)

COMMAND = [str(Path(sys.executable).with_name("dalkit")), "update"]
MARKED = ("<<<<<<< ", "=======\n", ">>>>>>> ")


@pytest.fixture(scope="module", autouse=True)
def git_without_settings() -> Iterator[None]:
    """Neither the machine's settings of git nor the developer's count."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        yield


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_template(tmp_path_factory.mktemp("origin") / "a template é")


@pytest.fixture(scope="module")
def original(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A service of the first version; not to be changed."""
    return generate(template, tmp_path_factory.mktemp("original"))


@pytest.fixture
def service(original: Path, tmp_path: Path) -> Path:
    return copy(original, tmp_path)


def run(service: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `dalkit update` in a folder."""
    return subprocess.run(
        [*COMMAND, *arguments], cwd=service, check=False, capture_output=True, text=True
    )


class Updated:
    """A service that its owner had edited, before and after, and what the command said."""

    def __init__(self, service: Path) -> None:
        write(
            service,
            {
                "src/app.py": LINES.replace("line 30\n", "line 30, mine\n"),
                "src/moved.py": (service / "src/moved.py").read_text() + "mine = 1\n",
                "src/gone.py": None,
                "src/books/router.py": None,
                "src/books/schemas.py": None,
                "src/publishers/router.py": "mine = 1\n",
                "docs/a b/mein ß.txt": "mine\n",
                "folder/mine.txt": "mine\n",
                "windows.txt": LINES.replace("line 30\n", "line 30, mine\n").replace("\n", "\r\n"),
                "migrations/versions/0002_mine.py": "mine = 1\n",
            },
        )
        (service / "src" / "settings.py").chmod(0o755)
        commit(service)
        write(service, {"uv.lock": "of uv\n"})
        self.service, self.before = service, contents(service)
        self.result = run(service)
        self.after = contents(service)

    def text(self, name: str) -> str:
        return self.after[name][1].decode()


@pytest.fixture(scope="module")
def updated(original: Path, tmp_path_factory: pytest.TempPathFactory) -> Updated:
    return Updated(copy(original, tmp_path_factory.mktemp("updated")))


def test_it_is_done_and_says_what(updated: Updated) -> None:
    assert (updated.result.returncode, updated.result.stderr) == (0, "")
    first, second, *rest = updated.result.stdout.splitlines()
    assert first == "Template 1.0.0 -> 2.0.0: 10 files changed, 7 files added, 5 files removed."
    assert second.startswith("All is staged, nothing is committed;")
    assert rest[-1] == "Next: make openapi, make check, then commit all of it, with uv.lock."


def test_what_the_owner_must_act_on_is_shown(updated: Updated) -> None:
    assert NEWER in updated.result.stdout
    assert "The first." not in updated.result.stdout


def test_changes_of_both_sides_are_merged(updated: Updated) -> None:
    merged = LINES.replace("line 5\n", "line 5, new\n").replace("line 30\n", "line 30, mine\n")
    assert updated.text("src/app.py") == merged
    assert 'readme = "new"' in updated.text("pyproject.toml")
    assert 'version = "2.0.0"' in updated.text("pyproject.toml")


def test_lines_that_end_in_crlf_stay_so(updated: Updated) -> None:
    merged = LINES.replace("line 5\n", "line 5, new\n").replace("line 30\n", "line 30, mine\n")
    assert updated.text("windows.txt") == merged.replace("\n", "\r\n")


def test_files_come_change_and_go_whatever_their_names(updated: Updated) -> None:
    assert updated.text("src/new.py") == "new = 1\n"
    assert updated.text("docs/a b/new ö.txt") == "new\n"
    assert updated.text("docs/a b/ünïcode.txt").startswith("new\n")
    assert updated.after["logo.png"][1] == BINARY[::-1]
    assert "src/old.py" not in updated.after


def test_executable_bits_are_those_of_both_sides(updated: Updated) -> None:
    executable = {name for name, (mode, _) in updated.after.items() if mode & 0o111}
    assert executable == {"run.sh", "deploy.sh", "src/settings.py"}


def test_a_file_with_a_new_name_keeps_the_edits(updated: Updated) -> None:
    text = updated.text("src/moved_to.py")
    assert "moved 3, new\n" in text
    assert text.endswith("mine = 1\n")
    assert "src/moved.py" not in updated.after


def test_what_was_deleted_stays_deleted(updated: Updated) -> None:
    """Under another name, and with what is new in a folder of which nothing was left."""
    left_out = {"src/gone_to.py", "src/books/router.py", "src/books/queries.py"}
    assert not left_out & updated.after.keys()
    assert not {"src/gone.py", "src/books/schemas.py"} & updated.after.keys()
    listed = updated.result.stdout.partition("because you deleted them:\n")[2].splitlines()
    assert {line.strip() for line in listed[:3]} == left_out
    assert not listed[3].startswith("  ")


def test_what_skip_names_is_left_alone_and_listed(updated: Updated) -> None:
    skipped = ["migrations/versions/0001.py", "migrations/versions/0002.py", "seed.sql"]
    assert "".join(f"  {name}\n" for name in skipped) in updated.result.stdout
    assert {name: updated.after.get(name) for name in skipped} == {
        name: updated.before.get(name) for name in skipped
    }


def test_the_library_is_that_of_the_new_version(updated: Updated) -> None:
    found = {
        name: text.decode()
        for name, (_, text) in updated.after.items()
        if name.startswith("packages/") and not name.endswith("MANIFEST")
    }
    wanted = {name: text for name, text in SECOND.items() if name.startswith("packages/") and text}
    assert found == wanted


def test_nothing_else_is_touched(updated: Updated) -> None:
    """The owner's files, those that nothing changed, and git: no commit, no file that it left."""
    mine = [name for name in updated.before if "mine" in name or "mein" in name]
    assert len(mine) == 3
    for name in (*mine, "src/publishers/router.py", "src/settings.py", "run.sh", "uv.lock"):
        assert updated.after[name] == updated.before[name]
    assert not [name for name in updated.after if name.endswith((".rej", ".orig"))]
    assert git(updated.service, "rev-list", "--count", "HEAD") == "2"
    assert not (updated.service / ".git" / "CHERRY_PICK_HEAD").exists()
    status = git(updated.service, "status", "--porcelain").splitlines()
    assert [line for line in status if line[1] != " "] == ["?? uv.lock"]


def test_the_record_is_of_the_new_version(updated: Updated, template: Path) -> None:
    before, after = (json.loads(v[".cruft.json"][1]) for v in (updated.before, updated.after))
    head = git(template, "rev-parse", "HEAD")
    assert (
        after["commit"] == after["context"]["cookiecutter"]["_commit"] == head != before["commit"]
    )
    assert after["template"] == before["template"] == str(template)
    assert after["context"]["cookiecutter"]["project_name"] == "Órders"


def test_it_is_undone_as_it_says(updated: Updated, tmp_path: Path) -> None:
    service = copy(updated.service, tmp_path)
    command = updated.result.stdout.partition("nothing is committed; ")[2].partition(" undoes")[0]
    assert command.startswith("git restore")
    subprocess.run(command.split(), cwd=service, check=True)
    assert contents(service) == updated.before


def test_a_second_time_there_is_nothing_to_do(updated: Updated, tmp_path: Path) -> None:
    service = copy(updated.service, tmp_path)
    commit(service)
    result = run(service)
    assert result.returncode == 0
    assert result.stdout.startswith("The service is of v2.0.0 (")
    assert git(service, "status", "--porcelain") == ""


def test_conflicts_are_gits_and_are_listed_until_they_are_resolved(
    service: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine: dict[str, str | bytes] = {
        "src/app.py": LINES.replace("line 5\n", "line 5, mine\n"),
        "src/new.py": "mine = 1\n",
        "src/old.py": "old = 'mine'\n",
        "docs/a b/ünïcode.txt": "mine\n" + "text\n" * 9,
        "logo.png": BINARY + b"mine",
    }
    write(service, mine)
    commit(service)
    expected = (
        "  docs/a b/ünïcode.txt: both changed it\n"
        "  logo.png: both changed it\n"
        "  src/app.py: both changed it\n"
        "  src/new.py: both added it\n"
        "  src/old.py: changed here, removed in the template\n"
    )
    assert update(service, None) == 1
    assert f"These conflicts are to be resolved:\n{expected}" in capsys.readouterr().out
    for name in ("src/app.py", "src/new.py", "docs/a b/ünïcode.txt"):
        text = (service / name).read_text("utf-8")
        assert all(marker in text for marker in MARKED), text
    for name in ("src/old.py", "logo.png"):
        assert (service / name).read_bytes() == (
            mine[name] if name == "logo.png" else b"old = 'mine'\n"
        )
    assert not [*service.rglob("*.rej"), *service.rglob("*.orig")]
    assert 'version = "2.0.0"' in (service / "pyproject.toml").read_text()

    assert update(service, None) == 1
    assert f"There are conflicts that are not resolved:\n{expected}" in capsys.readouterr().out
    commit(service)  # with all the markers
    assert update(service, None) == 1
    assert "  src/app.py: has markers of a conflict\n" in capsys.readouterr().out
    write(service, {**mine, "src/old.py": None})
    commit(service)
    assert update(service, None) == 0


def test_an_edited_library_is_refused_with_its_files_and_replaced_on_demand(
    service: Path, template: Path
) -> None:
    library = service / "packages" / "dalkit"
    write(library, {"src/dalkit/data.py": "mine", "src/dalkit/ä.py": "mine"})
    (library / "pyproject.toml").unlink()
    commit(service)
    before = contents(service)
    with pytest.raises(UpdateError) as refused:
        update(service)
    assert (
        "  edited src/dalkit/data.py\n  added src/dalkit/ä.py\n  removed pyproject.toml\n"
        in str(refused.value)
    )
    assert contents(service) == before
    assert update(service, discard_edits=True) == 0
    new = {name for name, text in SECOND.items() if name.startswith("packages/") and text}
    found = {p.relative_to(service).as_posix() for p in library.rglob("*") if p.is_file()}
    assert found == new | {"packages/dalkit/MANIFEST"}
    assert (library / "src" / "dalkit" / "data.py").read_text() == "data = 2\n"


def test_a_part_of_a_repository_is_updated_and_the_rest_left_alone(
    template: Path, tmp_path: Path
) -> None:
    """Whose history does not have the service as it was generated, nor has it the library."""
    whole = tmp_path / "all of it"
    service = generate(template, whole / "sérvices")
    (service / ".git").rename(tmp_path / "its own")
    shutil.rmtree(service / "packages")
    app = LINES.replace("line 30\n", "line 30, mine\n")
    write(whole, {"src/app.py": "of another", "README.md": "of all"})
    write(service, {"src/app.py": app})
    commit(whole)
    write(whole, {"README.md": "edited", "src/app.py": "staged"})
    git(whole, "add", "src/app.py")
    write(service, {"uv.lock": "of uv"})
    assert update(service) == 0
    assert (service / "src/app.py").read_text() == app.replace("line 5\n", "line 5, new\n")
    assert (service / "src/new.py").exists()
    assert not (service / "src/old.py").exists()
    assert not (service / "packages").exists()
    status = git(whole, "-c", "core.quotePath=false", "status", "--porcelain").splitlines()
    outside = [line.strip() for line in status if "sérvices" not in line]
    assert sorted(outside) == ["M  src/app.py", "M README.md"]
    assert (whole / "src/app.py").read_text() == "staged"


def test_a_named_version_of_another_address_is_taken_and_gone_back_to(
    template: Path, updated: Updated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what the owner did not delete, everything is as it was."""
    monkeypatch.chdir(tmp_path)
    service, clone = copy(updated.service, tmp_path), tmp_path / "clone ü"
    git(tmp_path, "clone", "--quiet", str(template), str(clone))
    break_off(service, origin="https://example.com/of/the/folder/before.git")
    assert update(service, "1.0.0", address=clone.name) == 0
    record = json.loads((service / ".cruft.json").read_text())
    assert "origin" not in record
    assert (record["checkout"], record["template"]) == ("1.0.0", str(clone))
    names = git(service, "diff", "--cached", "--name-only", "HEAD~1").splitlines()
    assert names == [".cruft.json", "pyproject.toml", "uv.lock"]
    changed = git(service, "diff", "--cached", "--unified=0", "HEAD~1", "--", "pyproject.toml")
    assert changed.splitlines()[-1] == f'+address = "{clone}"'


def test_a_password_in_an_address_is_used_and_not_kept(
    service: Path,
    template: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.{template}.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "https://user:secret@example.com/template.git")
    address = "git+https://user:secret@example.com/template.git"
    assert update(service, address=address) == 0
    kept = [(service / name).read_text() for name in (".cruft.json", "pyproject.toml")]
    assert all("https://example.com/template.git" in text for text in kept)
    assert "secret" not in "".join([*kept, capsys.readouterr().out])


def test_the_newest_version_is_the_newest_release_or_the_branch_beyond_it(tmp_path: Path) -> None:
    """A release that is to come is none yet."""
    template = Template(tmp_path, str(tmp_path))
    for number, tag in enumerate((None, "v0.9.0", "v0.10.0", "v0.11.0rc1")):
        write(tmp_path, {"number": str(number)})
        commit(tmp_path, tag)
        if tag is None:
            assert template.newest_for(git(tmp_path, "rev-parse", "HEAD")) == "main"
    newest = [template.newest_for(git(tmp_path, "rev-parse", f"HEAD~{n}")) for n in (3, 2, 1, 0)]
    assert newest == ["v0.10.0", "v0.10.0", "v0.10.0", "main"]


def test_who_is_of_the_newest_release_is_told_of_what_is_not_released(
    template: Path, updated: Updated, tmp_path: Path
) -> None:
    service, clone = copy(updated.service, tmp_path), tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(template), str(clone))
    write(clone, {"more": "more"})
    commit(clone)
    commit(service)
    result = run(service, "--template", str(clone))
    assert result.stdout.endswith(" is not released: make update VERSION=main.\n")


def test_without_a_record_the_table_of_pyproject_tells(tmp_path: Path) -> None:
    """Services of template 0.2 have nothing else."""
    text = """
        [project]
        name = "order-service"
        description = "Takes orders."
        authors = [{ name = "Ada" }, { email = "ada@example.com" }]
        [tool.dalkit.template]
        address = "gh:example/template"
        version = "0.2.0"
        answers = { project_name = "Orders", license = "MIT", options = ["use_slack"], ci = "none" }
        """
    (tmp_path / "pyproject.toml").write_text(text)
    record = read_record(tmp_path)
    assert (record["template"], record["commit"]) == ("gh:example/template", "v0.2.0")
    assert record["context"]["cookiecutter"] == {
        "project_name": "Orders",
        "project_slug": "order-service",
        "description": "Takes orders.",
        "author_name": "Ada",
        "author_email": "ada@example.com",
        "license": "MIT",
        "use_auth0": False,
        "use_slack": True,
        "ci": "none",
    }
    assert plain_address(record["template"]) == "https://github.com/example/template.git"


# What follows is refused before anything is rendered.


def break_off(service: Path, **changes: object) -> None:
    """Change the record."""
    record = service / ".cruft.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | changes))
    commit(service)


def refusal(service: Path, version: str | None = None) -> str:
    """Return the sentence with which an update is refused, having changed nothing."""
    before = contents(service)
    with pytest.raises(UpdateError) as refused:
        update(service, version)
    assert contents(service) == before
    sentence = str(refused.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


def test_a_refusal_is_one_line_of_the_command(service: Path) -> None:
    write(service, {"src/app.py": "edited"})
    result = run(service)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == f"{refusal(service)}\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [("src/app.py", "edited"), ("src/new one.py", "untracked"), ("src/settings.py", None)],
)
def test_what_is_not_committed_is_refused(service: Path, name: str, text: str | None) -> None:
    write(service, {name: text})
    assert f"There are changes that are not committed ({name}): " in refusal(service)


def test_outside_of_git_it_is_refused(service: Path, tmp_path: Path) -> None:
    (service / ".git").rename(tmp_path / "moved")
    assert "is not committed in a git repository" in refusal(service)
    git(tmp_path, "init", "--quiet")
    write(tmp_path, {".gitignore": service.name})
    assert "is not committed in a git repository" in refusal(service)


def test_a_file_in_the_way_is_refused(service: Path) -> None:
    """git would write over it, because it is ignored."""
    write(service, {".gitignore": "new.py\n"})
    commit(service)
    write(service, {"src/new.py": "mine, and nowhere else"})
    assert "The new version brings src/new.py, which is here and not in git" in refusal(service)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("/nowhere/template é", "The template /nowhere/template é is not there any more"),
        ("https://example.com/template.zip", "template.zip is a zip, and an update needs"),
        ("http://127.0.0.1:1/template.git", "template.git cannot be had ("),
        ("git+http://127.0.0.1:1/template", "The template http://127.0.0.1:1/template cannot"),
        ("http://user:secret@127.0.0.1:1/a.git", "The template http://127.0.0.1:1/a.git cannot"),
    ],
)
def test_a_template_that_cannot_be_had_is_a_sentence(
    service: Path, address: str, reason: str
) -> None:
    break_off(service, template=address)
    said = refusal(service)
    assert reason in said
    assert "secret" not in said
    assert 'make update ARGS="--template ADDRESS"' in said


def test_a_folder_that_is_no_repository_is_a_sentence(service: Path, tmp_path: Path) -> None:
    folder = tmp_path / "unpacked"
    folder.mkdir()
    break_off(service, template=str(folder))
    assert f"The template {folder} cannot be had (" in refusal(service)


def test_a_folder_of_another_machine_gives_way_to_the_origin_of_the_clone(
    service: Path, template: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    break_off(service, template="/nowhere/clone", origin=str(template))
    assert update(service, "v1.0.0") == 0
    assert f" of {template} already" in capsys.readouterr().out


def test_a_version_that_is_not_there_is_a_sentence(service: Path) -> None:
    assert "has no version v9; it has v1.0.0, v2.0.0, the branch main." in refusal(service, "v9")
    break_off(service, commit="0" * 40)
    said = refusal(service)
    assert f"has no {'0' * 40}, which this service was made from" in said
    assert '"--from VERSION"; it has v1.0.0, v2.0.0, the branch main.' in said
    assert update(service, "v1.0.0", since="v1.0.0") == 0


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"template": 1, "commit": "a"}'])
def test_a_damaged_record_is_a_sentence(service: Path, text: str) -> None:
    write(service, {".cruft.json": text})
    commit(service)
    assert ".cruft.json is damaged" in refusal(service)


def test_a_service_that_does_not_say_its_template_is_a_sentence(service: Path) -> None:
    text = (service / "pyproject.toml").read_text().replace("[tool.dalkit.template]", "[tool.x]")
    write(service, {".cruft.json": None, "pyproject.toml": text})
    commit(service)
    assert "says which template this service is from" in refusal(service)


def test_cruft_that_cannot_be_had_is_a_sentence(
    service: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is not installed uv fetches it, which takes a network the first time."""
    monkeypatch.setattr("dalkit.dev.template.find_spec", lambda _: None)
    uv = tmp_path / "uv"
    write(tmp_path, {"uv": "#!/bin/sh\necho 'error: no network' >&2\nexit 2\n"})
    uv.chmod(0o755)
    monkeypatch.setenv("UV", str(uv))
    assert "which cannot be fetched: try again with a network." in refusal(service)
    monkeypatch.delenv("UV")
    monkeypatch.setattr("dalkit.dev.template.shutil.which", lambda _: None)
    assert "is not installed: pip install 'cruft>=2.16,<3'." in refusal(service)


def test_git_that_is_not_installed_is_a_sentence(
    service: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(service))
    assert refusal(service) == "An update needs git, which is not installed."


def test_sections_are_told_by_their_version_and_others_by_their_text() -> None:
    old = "# U\n\n## Unreleased\n\none\n\n## Template 1.0\n\na tipo\n"
    new = "# U\n\n## Unreleased\n\none, two\n\n## Template 1.0\n\na typo\n"
    assert sections_between(old, new) == ["## Unreleased\n\none, two\n"]
    assert sections_between(old, old) == []
