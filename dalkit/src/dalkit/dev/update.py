"""`dalkit update`: brings a service to another version of its template, by cruft and git."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .doctor import CARRIED, edits_of
from .merge import Merge, Service
from .template import (
    RECORD,
    Template,
    UpdateError,
    fetch,
    git,
    plain_address,
    read_record,
    require_cruft,
)

TABLE = re.compile(r"(?m)^\[tool\.dalkit\.template\]\n(?:.+\n?)*")
ADDRESS = re.compile(r"(?m)^address = .*$")
SECTION = re.compile(r"(?ms)^## ([^\n]+)\n.*?(?=^## |\Z)")
DISCARD = "make update ARGS=--discard-edits"
UNDO = "git restore --source=HEAD --staged --worktree ."
RESOLVE = (
    "Edit them, or take one side (git checkout --ours, --theirs FILE), then git add them;"
    " git rm what is removed."
)
DONE = {"M": "changed", "A": "added", "D": "removed", "U": "in conflict"}


def update(
    project: Path,
    version: str | None = None,
    *,
    address: str | None = None,
    since: str | None = None,
    discard_edits: bool = False,
) -> int:
    """Bring the service to `version` of its template, by default the newest; return the status.

    `packages/dalkit` is replaced whole. The template's other files are merged three-way, and the
    result is staged; 1 is returned when there are conflicts, which then are git's own. What the
    owner deleted stays deleted, and no other file is touched. `since` is the version that the
    service is of, for when the template does not have the recorded commit.

    Raises UpdateError before anything is changed: outside of git, with changes that are not
    committed, with an edited library unless `discard_edits`, and when the template cannot be had.
    """
    service = Service.open(project)
    if conflicts := service.conflicts():
        print(*of_conflicts(conflicts, "There are conflicts that are not resolved:"), sep="\n")
        return 1
    service.require_clean()
    if not discard_edits:
        require_library_as_released(project / CARRIED)
    record = read_record(project)
    with TemporaryDirectory() as temporary:
        template = fetch(record, address, Path(temporary))
        old = commit_of_service(template, since or record["commit"])
        wanted = version or template.newest_for(old)
        new = commit_of_version(template, wanted)
        if new == old:
            print(up_to_date(template, wanted, new))
            return 0
        require_cruft()
        found_at = template.address if address else plain_address(record["template"])
        record |= {"template": found_at, "commit": new, "checkout": version}
        if address:
            record.pop("origin", None)  # it is that of the folder that was the template before
        before, after = render(template, (old, new), record, Path(temporary))
        same_table(project, before, after, template.address if address else None)
        merge = Merge(service, before, after)
        conflicts = merge.apply(f"template {wanted}")
        print(*report(merge, template, old, new), sep="\n")
    if conflicts:
        print(*of_conflicts(conflicts, "These conflicts are to be resolved:"), sep="\n")
    else:
        print("\nNext: make openapi, make check, then commit all of it, with uv.lock.")
    return int(bool(conflicts))


def require_library_as_released(carried: Path) -> None:
    """Raise UpdateError with the files that were edited in packages/dalkit."""
    try:
        edits = edits_of(carried) if carried.is_dir() else {}
    except (OSError, ValueError):
        raise UpdateError(
            f"{CARRIED}/MANIFEST is missing or damaged, so nobody can tell what was edited there:"
            f" bring it back from the history of git, or replace all of {CARRIED} with {DISCARD}."
        ) from None
    if edits:
        lines = [f"  {how} {path}" for how, paths in edits.items() for path in paths]
        raise UpdateError(
            f"{CARRIED} was edited, and an update replaces it whole:\n"
            + "\n".join(lines)
            + f"\nBring the changes upstream; {DISCARD} gives them up."
        )


def commit_of_service(template: Template, recorded: str) -> str:
    """Return the commit that the service is of; raises UpdateError."""
    if found := template.commit_of(recorded):
        return found
    raise UpdateError(
        f"The template {template.address} has no {recorded}, which this service was made from:"
        f' say which version it is of, make update ARGS="--from VERSION"; it has {known(template)}.'
    )


def commit_of_version(template: Template, wanted: str) -> str:
    """Return the commit that was asked for; raises UpdateError."""
    if found := template.commit_of(wanted):
        return found
    raise UpdateError(
        f"The template {template.address} has no version {wanted}; it has {known(template)}."
    )


def known(template: Template) -> str:
    """Return the versions that can be asked for."""
    return ", ".join([*template.releases(), f"the branch {template.branch}"])


def up_to_date(template: Template, wanted: str, commit: str) -> str:
    """Return what there is to say when there is nothing to do."""
    branch = template.branch
    more = f" The branch {branch} has more, which is not released: make update VERSION={branch}."
    said = f"The service is of {wanted} ({commit[:7]}) of {template.address} already."
    return said if template.commit_of(branch) == commit else said + more


def render(
    template: Template, commits: tuple[str, str], record: dict[str, Any], folder: Path
) -> tuple[Path, Path]:
    """Return the service as both versions generate it; the second has the new record."""
    given = record["context"]["cookiecutter"]
    before, after = (
        template.render(commit, given, folder / name)
        for commit, name in zip(commits, ("before", "after"), strict=True)
    )
    answers = json.loads((after / RECORD).read_text("utf-8"))["context"]["cookiecutter"]
    answers = {name: answers[name] for name in sorted(answers) if not name.startswith("_")}
    answers |= {"_template": record["template"], "_commit": record["commit"]}
    text = json.dumps(record | {"context": {"cookiecutter": answers}}, ensure_ascii=False, indent=2)
    (after / RECORD).write_text(f"{text}\n", "utf-8")
    return before, after


def same_table(project: Path, before: Path, after: Path, address: str | None) -> None:
    """Have nothing to merge in `[tool.dalkit.template]`, whose address stays the service's."""
    ours = TABLE.search((project / "pyproject.toml").read_text("utf-8"))
    kept = ADDRESS.search(ours[0]) if ours else None
    line = f"address = {json.dumps(address, ensure_ascii=False)}" if address else kept and kept[0]
    old, new = ((folder / "pyproject.toml").read_text("utf-8") for folder in (before, after))
    old = _replaced(TABLE, old, ours[0] if ours else "")
    new = _replaced(ADDRESS, new, line or "") if ours else _replaced(TABLE, new, "")
    (before / "pyproject.toml").write_text(old, "utf-8")
    (after / "pyproject.toml").write_text(new, "utf-8")


def _replaced(pattern: re.Pattern[str], text: str, other: str) -> str:
    return pattern.sub(lambda _: other, text)


def report(merge: Merge, template: Template, old: str, new: str) -> list[str]:
    """Return the lines that say what was done, and what UPGRADING.md has about it."""
    folder = merge.service.folder
    options = ("--cached", "--name-only", "--no-renames", "-z")
    done = {}
    for letter, word in DONE.items():
        names = git(folder, "diff", *options, f"--diff-filter={letter}", "HEAD", "--", ".")
        done[word] = names.count("\0")
    counts = ", ".join(f"{number} files {word}" for word, number in done.items() if number)
    lines = [
        f"Template {template.version_of(old)} -> {template.version_of(new)}: {counts}.",
        f"All is staged, nothing is committed; {UNDO} undoes it.",
    ]
    if merge.left_out:
        lines += ["Left out, because you deleted them:", *indented(merge.left_out)]
    if merge.skipped:
        lines += ["Left alone, as [tool.cruft] skip says:", *indented(merge.skipped)]
    texts = [template.text(commit, "UPGRADING.md") for commit in (old, new)]
    if sections := sections_between(*texts):
        lines += ["", "What to act on, from UPGRADING.md of the template:", "", *sections]
    return lines


def of_conflicts(conflicts: Mapping[str, str], title: str) -> list[str]:
    """Return the lines that list conflicts and say how they are resolved."""
    lines = indented(f"{path}: {why}" for path, why in sorted(conflicts.items()))
    return ["", title, *lines, RESOLVE]


def indented(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def sections_between(old: str, new: str) -> list[str]:
    """Return the sections of the newer UPGRADING.md that the older one does not have.

    One without a version in its title, such as Unreleased, is another when its text is.
    """

    def name_of(section: re.Match[str]) -> str:
        return section[1] if re.search(r"\d", section[1]) else section[0]

    known = {name_of(section) for section in SECTION.finditer(old)}
    return [s[0].strip() + "\n" for s in SECTION.finditer(new) if name_of(s) not in known]
