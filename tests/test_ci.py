"""What runs a service's checks elsewhere: its pipelines, its commits, and what updates it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from . import environments
from .baking import bake
from .environments import UV, environment, install, require_uv, run

BIN = Path(sys.executable).parent
TESTS = f"tests-{sys.version_info.major}.{sys.version_info.minor}"
UNNEEDED = shutil.ignore_patterns(
    ".venv", ".nox", ".postgres", ".*cache*", "__pycache__", "uv.lock"
)
NOTHING = "0" * 40
LOCKING = '''"""Look for prices."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    op.create_index("ix_book_price", "book", ["price"])


def downgrade() -> None:
    """Undo it."""
    op.drop_index("ix_book_price")
'''


#: Who commits, where nobody has told git.
AUTHOR = ("-c", "user.name=t", "-c", "user.email=t@example.com")


def git(project: Path, *arguments: str) -> str:
    return run(project, "git", *AUTHOR, *arguments).strip()


@pytest.fixture
def pushed(default_project: Path, tmp_path: Path) -> Path:
    """A clone of what was pushed first: all files of the service, in one commit."""
    project = tmp_path / "my-service"
    shutil.copytree(default_project, project, ignore=UNNEEDED)
    git(project, "init", "--quiet", "--initial-branch=main")
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message=all")
    return project


def github_script(project: Path, session: str) -> str:
    """Return what the job `nox` runs for a session, but for the conditions of its steps."""
    document = yaml.safe_load((project / ".github" / "workflows" / "ci.yml").read_text())
    assert session in document["jobs"]["nox"]["strategy"]["matrix"]["session"]
    steps: list[dict[str, Any]] = document["jobs"]["nox"]["steps"]
    return "\n".join(
        step["run"]
        for step in steps
        if "run" in step and (session == TESTS or "tests" not in step.get("if", ""))
    )


def gitlab_script(project: Path, session: str) -> str:
    """Return what the job of a session runs; uv is here."""
    document = yaml.safe_load((project / ".gitlab-ci.yml").read_text())
    [job] = (
        job
        for job in document.values()
        if session in str(job) and isinstance(job, dict) and "parallel" in job
    )
    assert job["extends"] == ".nox"
    before, script = document[".nox"]["before_script"], document[".nox"]["script"]
    assert before[0] == "pip install --quiet uv"
    return "\n".join([*before[1:], *script])


def job(project: Path, script: str, session: str, **variables: str) -> tuple[int, str]:
    """Return the status and the output of a job: its script, as the runner has bash run it."""
    require_uv()
    summary = project.parent / "summary.md"
    done = subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=project,
        env=environment(SESSION=session, GITHUB_STEP_SUMMARY=str(summary), CI="true", **variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def test_where_there_is_no_uv_a_test_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not an error: who has a virtual environment already may run pytest without it."""
    missing = str(tmp_path / "uv")
    monkeypatch.setattr(environments, "UV", missing)
    sentence = "There is no uv: install it, or run `make test-template`, which does."
    with pytest.raises(pytest.skip.Exception, match=sentence):
        run(tmp_path, missing, "lock")
    with pytest.raises(pytest.skip.Exception, match=sentence):
        job(tmp_path, "uv lock", "lint")
    assert run(tmp_path, "git", "--version").startswith("git version")


def test_the_first_push_is_green_and_tells_the_coverage(pushed: Path, tmp_path: Path) -> None:
    """In the summary on GitHub, and by an expression on GitLab."""
    status, output = job(pushed, github_script(pushed, TESTS), TESTS, MIGRATIONS_BASE=NOTHING)
    assert status == 0, output
    project = bake(tmp_path / "gitlab", ci="gitlab")
    expression = yaml.safe_load((project / ".gitlab-ci.yml").read_text())["tests"]["coverage"]
    [told] = re.findall(expression.strip("/"), output)
    summary = (pushed.parent / "summary.md").read_text()
    [percent] = re.findall(r"TOTAL.*?(\d+)%", summary)
    assert int(percent) >= 90
    assert told == f"{percent}%"
    assert (pushed / "coverage.xml").exists()
    assert git(pushed, "status", "--porcelain") == "?? uv.lock"


def test_a_new_migration_that_locks_is_red(pushed: Path, tmp_path: Path) -> None:
    """Against the commit before, which the first push has none of; the same on both."""
    project = bake(tmp_path / "gitlab", ci="gitlab")
    shutil.copy(project / ".gitlab-ci.yml", pushed)
    first = git(pushed, "rev-parse", "HEAD")
    script = gitlab_script(pushed, "migrations")
    status, output = job(pushed, script, "migrations", CI_COMMIT_BEFORE_SHA=NOTHING)
    assert status == 0, output
    assert f"{NOTHING} is not in this clone: compared with the main branch instead." in output
    assert "All migrations, as there is nothing to compare with (this is the branch main" in output
    assert "): 1, linted: 1." in output
    (pushed / "migrations" / "versions" / "0002_look_for_prices.py").write_text(LOCKING)
    tables = pushed / "src" / "my_service" / "tables.py"
    old = 'sa.Index("ix_book_author_id", "author_id"),'
    text = tables.read_text().replace('"0001"', '"0002"')
    tables.write_text(text.replace(old, f'{old}\n    sa.Index("ix_book_price", "price"),'))
    status, output = job(pushed, script, "migrations", CI_COMMIT_BEFORE_SHA=first)
    assert status != 0
    assert "0001" not in output.partition("linted: 1.")[2]
    assert "No new upgrade operations detected" in output
    assert "require-concurrent-index-creation" in output


def test_a_lock_file_is_obeyed(pushed: Path) -> None:
    run(pushed, UV, "lock", "--quiet")
    script = github_script(pushed, "lint")
    status, output = job(pushed, script, "lint")
    assert status == 0, output
    pyproject = pushed / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace('"ruff>=0.17"', '"ruff>=0.17,<99"'))
    status, output = job(pushed, script, "lint")
    assert status != 0
    assert "uv.lock" in output


def test_a_commit_runs_the_checks_of_what_it_changes(pushed: Path) -> None:
    install(pushed)
    run(pushed, UV, "run", "pre-commit", "install")
    assert "hook-type=pre-push" in (pushed / ".git" / "hooks" / "pre-push").read_text()
    schemas = pushed / "src" / "my_service" / "books" / "schemas.py"
    schemas.write_text(schemas.read_text().replace("class BookPatch(", "class  BookPatch ("))
    output = run(pushed, "git", *AUTHOR, "commit", "--all", "--message=x", check=False)
    assert "files were modified by this hook" in output
    assert output.count("Passed") == 3, output  # lint, types, openapi.json
    assert output.count("Skipped") == 3, output  # the toolkit and the migrations


@pytest.mark.parametrize(
    ("ci", "schema", "file"),
    [
        ("github", "dependabot", ".github/dependabot.yml"),
        ("gitlab", "renovate", "renovate.json"),
    ],
)
def test_what_updates_dependencies_fits_its_schema(
    ci: str, schema: str, file: str, tmp_path: Path
) -> None:
    path = bake(tmp_path, ci=ci) / file
    run(tmp_path, BIN / "check-jsonschema", "--builtin-schema", f"vendor.{schema}", path)


def test_the_image_of_a_job_has_what_the_job_uses(tmp_path: Path) -> None:
    """python:3.13 has git and pip, which the slim one has not; docker:28 has docker."""
    project = bake(tmp_path, ci="gitlab")
    document = yaml.safe_load((project / ".gitlab-ci.yml").read_text())
    assert document["default"]["image"] == "python:3.13"
    programs = {
        line.split()[0]
        for line in [*document[".nox"]["before_script"], *document[".nox"]["script"]]
    }
    assert programs == {"pip", "if", "export", "uv"}
    assert {line.split()[0] for line in document["build-image"]["script"]} == {"docker"}
