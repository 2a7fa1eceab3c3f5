"""What `make check` asks of the migrations: they go up, down and up, and new ones lock nothing."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from alembic.config import Config
from alembic.script import Script, ScriptDirectory

from .postgres import temporary_cluster
from .project import Project
from .run import PYTHON, create_database, execute

ROUND_TRIP = ("upgrade head", "downgrade base", "upgrade head", "check")
#: Where a team's main branch is, in the order of looking.
MAIN_BRANCHES = ("origin/HEAD", "origin/main", "origin/master", "main", "master")
#: At the begin of a line of a migration; squawk's own comment, which begins with -- in SQL.
PERMISSION = "# squawk-ignore-file "


class NoBase(Exception):
    """There is nothing to compare with; the message says why."""


def check(project: Project) -> int:
    """Migrate an empty database up, down and up again, and compare it with tables.py.

    Returns the exit status of the first step of alembic's that fails, else 0.
    """
    with temporary_cluster() as cluster:
        create_database(cluster.url("postgres"), project.database)
        environment = project.environment() | {"DATABASE_URL": cluster.url(project.database)}
        for step in ROUND_TRIP:
            if status := execute(project, [*PYTHON, "alembic", *step.split()], environment):
                return status
    return 0


def lint(project: Project, base: str | None) -> int:
    """Let squawk read the SQL of the migrations that `base`, a commit or branch, does not have.

    Without a base to compare with, one sentence says so, and all are read. Returns squawk's exit
    status: 1 when one of them locks a table that is in use, or breaks the code that is running.
    """
    folders = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    squawk = shutil.which("squawk", path=os.pathsep.join(folders))
    if squawk is None:
        sys.exit("squawk is not installed: uv add --dev squawk-cli.")
    scripts = all_scripts(project)
    try:
        base, files = new_files(project, base)
    except NoBase as reason:
        which = f"All migrations, as there is nothing to compare with ({reason})"
    else:
        which = f"Migrations that {base} does not have"
        scripts = [it for it in scripts if Path(it.path).resolve() in files]
    with tempfile.TemporaryDirectory(prefix="migrations-") as folder:
        written = [path for it in scripts for path in write_sql(project, it, Path(folder))]
        print(f"{which}: {len(scripts)}, linted: {len(written)}.", flush=True)
        if not written:
            return 0
        names = [path.name for path in written]
        config = project.folder / ".squawk.toml"
        options = ["--config", str(config)] if config.exists() else []
        return subprocess.run([squawk, *options, *names], cwd=folder, check=False).returncode


def new_files(project: Project, base: str | None) -> tuple[str, set[Path]]:
    """Return the base, and the files that were added since the branch left it; raises NoBase."""
    if base and not is_commit(project, base):
        print(f"{base} is not in this clone: compared with the main branch instead.")
        base = None
    base = base or main_branch(project)
    fork = git(project, "merge-base", "HEAD", base).strip()
    added = ("diff", "--name-only", "--relative", "--no-renames", "--diff-filter=A", "-z", fork)
    untracked = ("ls-files", "--others", "--exclude-standard", "-z")
    listed = [name for it in (added, untracked) for name in git(project, *it).split("\0") if name]
    return base, {(project.folder / name).resolve() for name in listed}


def main_branch(project: Project) -> str:
    """Return the first of MAIN_BRANCHES that is there and not the one checked out, or raise NoBase.

    The branch itself has every migration that is committed, so nothing would ever be new.
    """
    git(project, "rev-parse", "--git-dir")
    current = git(project, "branch", "--show-current").strip()
    for name in MAIN_BRANCHES:
        if name != current and is_commit(project, name):
            return name
    others = ", ".join(name for name in MAIN_BRANCHES if name != current)
    where = f"this is the branch {current}, and " if current else ""
    raise NoBase(f"{where}none of {others} is in this clone")


def is_commit(project: Project, name: str) -> bool:
    try:
        return bool(git(project, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"))
    except NoBase:
        return False


def git(project: Project, *arguments: str) -> str:
    """Return what git prints in the project; raises NoBase with its first complaint."""
    command = ["git", *arguments]
    try:
        done = subprocess.run(
            command, cwd=project.folder, check=False, capture_output=True, text=True
        )
    except OSError as error:
        raise NoBase(f"git: {error.strerror}") from None
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"git {arguments[0]} found nothing"])[0]
        raise NoBase(reason.rstrip("."))
    return done.stdout


def all_scripts(project: Project) -> list[Script]:
    """Return the migrations, the oldest first."""
    config = Config(os.environ.get("ALEMBIC_CONFIG") or str(project.folder / "alembic.ini"))
    return list(reversed(list(ScriptDirectory.from_config(config).walk_revisions())))


def write_sql(project: Project, script: Script, folder: Path) -> Iterator[Path]:
    """Write the SQL of a migration into `folder` and yield the file, which has its name.

    Yields nothing when it joins two others, or asks the database, which is not there.
    """
    before = script.down_revision
    if isinstance(before, tuple):
        return
    steps = script.revision if before is None else f"{before}:{script.revision}"
    command = [*PYTHON, "alembic", "upgrade", steps, "--sql"]
    done = subprocess.run(command, cwd=project.folder, check=False, capture_output=True, text=True)
    source = Path(script.path)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"alembic ended with {done.returncode}"]
        reason = said[-1]
        print(f"{source.name} has no SQL without a database ({reason}): read it yourself.")
        return
    lines = source.read_text("utf-8").splitlines()
    permitted = [f"--{line[1:]}\n" for line in lines if line.startswith(PERMISSION)]
    path = folder / f"{source.stem}.sql"
    path.write_text("".join(permitted) + done.stdout, "utf-8")
    yield path
