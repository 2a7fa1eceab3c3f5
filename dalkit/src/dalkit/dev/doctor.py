"""`dalkit doctor`: what is wrong with a service's dalkit, one sentence with the remedy each."""

import ast
import operator
import platform
import re
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from ..extras import MODULES, PARTS
from .manifest import digests_of, read_manifest, version_of
from .project import read_toml

CARRIED = "packages/dalkit"
COMPARE = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}


def problems_of(project: Path) -> list[str]:
    """Return a sentence for each thing that is wrong, in the order in which to mend them."""
    return [
        *wrong_python(project),
        *wrong_files(project),
        *wrong_version(project),
        *missing_extras(project),
    ]


def verdict_of(project: Path) -> str:
    """Return what there is to say about a service without problems."""
    if (project / CARRIED).is_dir():
        return f"{CARRIED} is as released ({version_of(project / CARRIED)})."
    return f"dalkit {version('dalkit')} is installed; there is no {CARRIED} to compare."


def wrong_python(project: Path) -> Iterator[str]:
    """Tell when the service or dalkit asks for a newer Python than this."""
    for folder in (project, project / CARRIED):
        needed = read_toml(folder / "pyproject.toml").get("project", {}).get("requires-python", "")
        if not satisfies(platform.python_version(), needed):
            yield (
                f"This is Python {platform.python_version()}, and the service needs {needed}:"
                " install one, and make the environment anew (rm -rf .venv)."
            )
            return


def wrong_files(project: Path) -> Iterator[str]:
    """Tell what was changed in packages/dalkit since it was released."""
    carried = project / CARRIED
    if not carried.is_dir():
        sources = read_toml(project / "pyproject.toml").get("tool", {}).get("uv", {})
        if sources.get("sources", {}).get("dalkit", {}).get("path") == CARRIED:
            yield (
                f"pyproject.toml says that dalkit is in {CARRIED}, which is not there:"
                f" git checkout {CARRIED}, or delete the line."
            )
        return
    try:
        _, released = read_manifest(carried)
    except (OSError, ValueError):
        yield (
            f"{CARRIED}/MANIFEST is missing or damaged, so nobody can tell what was edited there:"
            f" git checkout {CARRIED}/MANIFEST, or `make update`."
        )
        return
    found = digests_of(carried)
    changes = {
        "edited": sorted(p for p in released if p in found and found[p] != released[p]),
        "added": sorted(found.keys() - released.keys()),
        "removed": sorted(released.keys() - found.keys()),
    }
    listed = "; ".join(f"{how} {', '.join(paths)}" for how, paths in changes.items() if paths)
    if listed:
        yield (
            f"{CARRIED} is not as released ({listed}): `make update` will refuse to replace it;"
            " bring the change upstream and undo it here, or keep the folder as your own fork."
        )


def wrong_version(project: Path) -> Iterator[str]:
    """Tell when another dalkit is installed than the service has or asks for."""
    installed = version("dalkit")
    table = read_toml(project / "pyproject.toml").get("project", {})
    for requirement in table.get("dependencies", ()):
        found = re.fullmatch(r"dalkit\s*(\[[^]]*\])?\s*([^;@]*).*", requirement)
        if found and not satisfies(installed, found[2]):
            yield (
                f"dalkit {installed} is installed, and pyproject.toml needs {requirement}:"
                " `make update`, or change the line."
            )
    if (project / CARRIED / "pyproject.toml").exists():
        carried = version_of(project / CARRIED)
        if carried != installed:
            yield (
                f"dalkit {installed} is installed, and {CARRIED} is {carried}:"
                " install it (uv sync --reinstall-package dalkit)."
            )


def missing_extras(project: Path) -> Iterator[str]:
    """Tell which parts of dalkit the service's code names without their extra installed."""
    told = set()
    for file in sorted(f for top in ("src", "tests") for f in (project / top).rglob("*.py")):
        for part in parts_named(file):
            extra = PARTS[part]
            if extra not in told and not all(map(is_installed, MODULES[extra])):
                told.add(extra)
                yield (
                    f"{file.relative_to(project).as_posix()} uses {part}, which needs the extra"
                    f" {extra}: add it to dalkit[...] in pyproject.toml and install again."
                )


def parts_named(file: Path) -> list[str]:
    """Return the parts that need an extra and that a file imports, or names as a plugin."""
    names: set[str] = set()
    try:
        tree = ast.parse(file.read_bytes())
    except SyntaxError:  # others tell
        return []
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                names.update(alias.name for alias in node.names)
            case ast.ImportFrom(module=str(module), level=0):
                names.update([module, *(f"{module}.{alias.name}" for alias in node.names)])
            case ast.Constant(value=str(text)):
                names.add(text)
    return [part for part in PARTS if any(f"{name}.".startswith(f"{part}.") for name in names)]


def is_installed(module: str) -> bool:
    """Return whether the module could be imported."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the package that it is in
        return False


def satisfies(version: str, specifiers: str) -> bool:
    """Return whether a version is one of those, such as `>=3.11,<4`; unknown forms are passed."""
    mine = numbers(version)
    pairs = re.findall(r"(>=|<=|==|!=|>|<)\s*(\d+(?:\.\d+)*)\s*(?:,|$)", specifiers)
    return all(COMPARE[sign](mine, numbers(other)) for sign, other in pairs)


def numbers(version: str) -> tuple[int, ...]:
    """Return the numbers of a version, without zeros at the end: 3.11 is 3.11.0."""
    found = [int(number) for number in re.findall(r"\d+", version)[:3]]
    while found and not found[-1]:
        found.pop()
    return tuple(found)
