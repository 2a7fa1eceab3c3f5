"""The three-way merge of a template's new version into a service, made by git."""

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Self

from .doctor import CARRIED
from .project import read_toml
from .template import RECORD, UpdateError, git

Entry = tuple[str, str]
"""The mode of a file and its blob."""
Files = dict[str, Entry]

MARKER = r"^>>>>>>> [0-9a-f]+ \(template "
SHOWN = 20
#: By the stages that git keeps: of the version before, of the service, of the new version.
CONFLICTS = {
    "123": "both changed it",
    "23": "both added it",
    "12": "changed here, removed in the template",
}


@dataclass(frozen=True)
class Service:
    """A service in a repository of git, of which it may be a part."""

    folder: Path
    top: Path
    prefix: str

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Return it; raises UpdateError when git does not have its files."""
        try:
            top = Path(git(folder, "rev-parse", "--show-toplevel").removesuffix("\n"))
            prefix = git(folder, "rev-parse", "--show-prefix").removesuffix("\n")
            for name in ("pyproject.toml", f"{CARRIED}/pyproject.toml"):
                if (folder / name).exists():
                    git(folder, "ls-files", "--error-unmatch", name)
        except UpdateError as error:
            if not re.search("not a git repository|did not match", str(error)):
                raise
            raise UpdateError(
                f"{folder} is not committed in a git repository, without which nothing can be"
                " merged: git init, git add --all and git commit it as it is, then update."
            ) from None
        return cls(folder, top, prefix)

    def require_clean(self) -> None:
        """Raise UpdateError when there is anything to commit, but for uv.lock, which uv writes."""
        status = git(self.folder, "status", "--porcelain", "-z", "--no-renames", "--", ".")
        found = [line[3:].removeprefix(self.prefix) for line in status.split("\0") if line]
        if changed := [path for path in found if path != "uv.lock"]:
            raise UpdateError(
                f"There are changes that are not committed ({shortened(changed)}): commit or stash"
                " them first, so that the update can be looked at, and undone."
            )

    def conflicts(self) -> dict[str, str]:
        """Return what is to be resolved and why, by its path."""
        stages: dict[str, str] = {}
        for line in self._lines("ls-files", "-z", "--unmerged", "--", "."):
            about, path = line.split("\t", 1)
            stages[path] = stages.get(path, "") + about[-1]
        found = {path: CONFLICTS.get(kept, "to be resolved") for path, kept in stages.items()}
        with suppress(UpdateError):  # which is how git says that there are none
            for path in self._lines("grep", "-zlE", "-e", MARKER, "--", "."):
                found.setdefault(path, "has markers of a conflict")
        return found

    def files(self) -> Files:
        """Return the files of the last commit."""
        lines = self._lines("ls-tree", "-r", "-z", "HEAD", "--", ".")
        pairs = (line.split("\t", 1) for line in lines)
        return {path: (about.split()[0], about.split()[2]) for about, path in pairs}

    def with_crlf(self) -> set[str]:
        """Return the paths whose lines are committed with CRLF."""
        lines = self._lines("ls-files", "--eol", "-z", "--", ".")
        return {line.split("\t", 1)[1] for line in lines if line.startswith("i/crlf ")}

    def _lines(self, *command: str) -> list[str]:
        return [line for line in git(self.folder, *command).split("\0") if line]


@dataclass
class Merge:
    """The versions of the template's files before and after, and what the service makes of them."""

    service: Service
    before: Path
    after: Path
    left_out: list[str] = field(default_factory=list)
    """What the new version has in files and folders that the owner deleted."""
    skipped: list[str] = field(default_factory=list)
    """What it changes in files that `[tool.cruft] skip` names."""

    def apply(self, title: str) -> dict[str, str]:
        """Merge into the index and the working tree; return the conflicts and why, by their paths.

        It is the pick of one commit, which leads from the service with the template's files of
        before to the same with those of after.
        """
        base, theirs = self._trees()
        old = self._commit(base, title)
        new = self._commit(theirs, title, "-p", old)
        try:
            git(self.service.top, "cherry-pick", "--no-commit", new)
        except UpdateError as error:
            if not (conflicts := self.service.conflicts()):
                raise UpdateError(f"git could not merge: {error}") from None
            return conflicts
        return {}

    def _trees(self) -> tuple[str, str]:
        """The trees from which and to which the template went, both as changes of HEAD."""
        ours, old, new = self.service.files(), self._blobs(self.before), self._blobs(self.after)
        for path in sorted(self._to_skip() & (old.keys() | new.keys())):
            if old.pop(path, None) != new.pop(path, None):
                self.skipped.append(path)
        for path in sorted(self._deleted(ours, old, new)):
            if new.get(path) not in (old.pop(path, None), None):
                self.left_out.append(path)
            new.pop(path, None)
        both = old.keys() | new.keys()
        whole = {path for path in both | ours.keys() if is_whole(path)}
        self._require_nothing_in_the_way(new.keys() - ours.keys() - whole)
        base = {path: old.get(path) for path in both - whole}
        return self._tree(base, "HEAD"), self._tree({p: new.get(p) for p in both | whole}, "HEAD")

    def _deleted(self, ours: Files, old: Files, new: Files) -> set[str]:
        """What the owner deleted, also under a new name, and what is new in a deleted folder."""
        gone = old.keys() - ours.keys()
        added = new.keys() - old.keys() - ours.keys()
        if gone and added:
            moved = self._moved(old, new)
            gone |= {moved[path] for path in gone & moved.keys()}
        emptied = folders_of(old) - folders_of(ours)
        gone |= {path for path in added if folders_of([path]) & emptied}
        kept_whole = CARRIED in folders_of(ours)
        return {path for path in gone if not (is_whole(path) and (kept_whole or path == RECORD))}

    def _moved(self, old: Files, new: Files) -> dict[str, str]:
        """The files that have another name in the new version."""
        trees = [self._tree(files, "--empty") for files in (old, new)]
        options = ("-r", "-z", "-M", "--no-rename-empty", "--diff-filter=R", "--name-status")
        words = git(self.service.top, "diff-tree", *options, *trees).split("\0")
        names = [word.removeprefix(self.service.prefix) for word in words]
        return dict(zip(names[1::3], names[2::3], strict=True))

    def _to_skip(self) -> set[str]:
        """The files that the service's `[tool.cruft] skip` names, for want of it the template's."""
        folders = (self.service.folder, self.after)
        tools = (read_toml(folder / "pyproject.toml").get("tool", {}) for folder in folders)
        patterns: list[str] = next(
            (tool["cruft"].get("skip", []) for tool in tools if "cruft" in tool), []
        )
        found = set()
        for top in (self.before, self.after):
            for pattern in patterns:
                named = top.glob(pattern) if "*" in pattern else [top / pattern]
                files = (file for path in named for file in (path, *path.rglob("*")))
                found |= {file.relative_to(top).as_posix() for file in files}
        return found

    def _blobs(self, rendering: Path) -> Files:
        """Write the files of a rendering as blobs, with the line ends that the owner's have."""
        paths = [path for path in sorted(rendering.rglob("*")) if path.is_file()]
        names = [path.relative_to(rendering).as_posix() for path in paths]
        for name in self.service.with_crlf() & set(names) - {RECORD}:
            text = (rendering / name).read_bytes().replace(b"\r\n", b"\n")
            (rendering / name).write_bytes(text.replace(b"\n", b"\r\n"))
        options = ("-w", "--no-filters", "--stdin-paths")
        given = "".join(f"{path}\n" for path in paths)
        blobs = git(self.service.top, "hash-object", *options, given=given).split()
        modes = ["100755" if os.access(path, os.X_OK) else "100644" for path in paths]
        return dict(zip(names, zip(modes, blobs, strict=True), strict=True))

    def _require_nothing_in_the_way(self, added: Iterable[str]) -> None:
        """Raise UpdateError for ignored files: they are not in HEAD, and git writes over them."""
        if there := sorted(path for path in added if os.path.lexists(self.service.folder / path)):
            raise UpdateError(
                f"The new version brings {shortened(there)}, which is here and not in git: commit"
                " it, or move it away."
            )

    def _tree(self, changes: Mapping[str, Entry | None], start: str) -> str:
        """Write a tree: that of `start` with these files, and without those that are None."""
        top, prefix = self.service.top, self.service.prefix
        index = {"GIT_INDEX_FILE": str(self.after.parent / "index")}
        nothing = ("0", "0" * len(git(top, "rev-parse", "HEAD").strip()))
        entries = ((path, entry or nothing) for path, entry in changes.items())
        lines = (f"{mode} {blob}\t{prefix}{path}\0" for path, (mode, blob) in entries)
        git(top, "read-tree", start, **index)
        git(top, "update-index", "-z", "--index-info", given="".join(lines), **index)
        return git(top, "write-tree", **index).strip()

    def _commit(self, tree: str, title: str, *parent: str) -> str:
        roles = ("AUTHOR", "COMMITTER")
        people = {f"GIT_{role}_{what}": "template" for role in roles for what in ("NAME", "EMAIL")}
        arguments = ("commit-tree", tree, "-m", title, *parent)
        return git(self.service.top, *arguments, **people).strip()


def is_whole(path: str) -> bool:
    """Return whether a file is replaced, not merged."""
    return path == RECORD or path.startswith(f"{CARRIED}/")


def folders_of(paths: Iterable[str]) -> set[str]:
    """Return every folder that one of the files is in."""
    return {str(folder) for path in paths for folder in PurePosixPath(path).parents} - {"."}


def shortened(paths: list[str]) -> str:
    """Return the paths in a line, not more than twenty of them."""
    more = len(paths) - SHOWN
    return ", ".join([*paths[:SHOWN], *([f"and {more} more"] if more > 0 else [])])
