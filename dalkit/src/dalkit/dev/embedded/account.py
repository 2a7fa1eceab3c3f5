"""Which operating system user runs PostgreSQL: it refuses to be root."""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ..postgres import PostgresError

NOBODY = 65534
UNSHARE = ("unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}")
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


@dataclass(frozen=True)
class Account:
    """A way to run a command: behind `prefix`, as the user `uid` and `gid`, or just so."""

    prefix: tuple[str, ...] = ()
    uid: int | None = None
    gid: int | None = None

    def popen(self, command: list[str], output: int | IO[str]) -> subprocess.Popen[str]:
        """Start `command`; on Linux it gets SIGINT, a fast shutdown, when this process dies."""
        user: dict[str, Any] = {}
        if self.uid is not None:
            user = {"user": self.uid, "group": self.gid, "extra_groups": []}
        parent = os.getpid()
        libc = ctypes.CDLL(None)

        def die_with_parent() -> None:
            if sys.platform == "linux":
                libc.prctl(PR_SET_PDEATHSIG, signal.SIGINT)
            if os.getppid() != parent:  # it died before prctl
                os._exit(1)

        return subprocess.Popen(
            [*self.prefix, *command],
            cwd="/",
            env=os.environ | {"LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - the supervisor has one thread here
            **user,
        )

    def run(self, *command: str) -> tuple[bool, str]:
        """Run `command` to its end; return whether it succeeded and what it printed."""
        try:
            process = self.popen(list(command), subprocess.PIPE)
        except OSError as error:
            return False, str(error)
        output = process.communicate()[0]
        return process.returncode == 0, output

    def take(self, folder: Path) -> None:
        """Make the account the owner of root's `folder`, which PostgreSQL insists on."""
        if self.uid is not None and self.gid is not None and folder.stat().st_uid == 0:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, self.uid, self.gid, follow_symlinks=False)


def choose_account(data_dir: Path) -> Account:
    """Return the first account that can reach the folder of `data_dir`; raises PostgresError."""
    accounts = accounts_for_root if os.geteuid() == 0 else accounts_for_user
    for account in accounts(data_dir):
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


def accounts_for_user(_: Path) -> Iterator[Account]:
    """Yield the user; before that, in a container's `--user 1234`, somebody with a name."""
    if not has_name(os.geteuid()):
        yield Account(prefix=UNSHARE)
    yield Account()


def has_name(uid: int) -> bool:
    """Return whether the system knows the user, without which initdb refuses to work."""
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True
