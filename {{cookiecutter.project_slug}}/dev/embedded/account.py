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

UNSHARE = ("unshare", "--user", "--map-user=65534", "--map-group=65534")
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
    if os.geteuid() != 0:
        return Account()
    for account in accounts_for_root(data_dir):
        if account.run("test", "-x", str(data_dir.parent))[0]:
            return account
    raise PostgresError(
        f"PostgreSQL refuses to run as root, and no other user can reach {data_dir.parent}:"
        " work as an ordinary user, move the project, or set DATABASE_URL."
    )


def accounts_for_root(data_dir: Path) -> Iterator[Account]:
    """Yield the owner of the data when there is one; else root under another name, else nobody."""
    owner = (data_dir if data_dir.exists() else data_dir.parent).stat()
    if owner.st_uid != 0:
        yield Account(uid=owner.st_uid, gid=owner.st_gid)
        return
    yield Account(prefix=UNSHARE)
    try:
        nobody = pwd.getpwnam("nobody")
        yield Account(uid=nobody.pw_uid, gid=nobody.pw_gid)
    except KeyError:
        yield Account(uid=65534, gid=65534)
