"""`dalkit doctor`: what is wrong with a service's dalkit, one sentence with the remedy each."""

import ast
import platform
import re
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from operator import eq, ge, gt, le, lt, ne
from pathlib import Path

from ..extras import MODULES, PARTS
from .manifest import digests_of, read_manifest, version_of
from .project import read_toml

CARRIED = "packages/dalkit"
TEMPLATE = "0.2.0"
"""The version of the template that this dalkit comes with."""
COMPARE = {">=": ge, "<=": le, "==": eq, "!=": ne, ">": gt, "<": lt}


def problems_of(project: Path) -> list[str]:
    """Return a sentence for each thing that is wrong, in the order in which to mend them."""
    checks = (wrong_python, wrong_files, wrong_version, missing_extras)
    return [problem for check in checks for problem in check(project)]


def verdict_of(project: Path) -> str:
    """Return what there is to say about a service without problems."""
    said = f"dalkit {version('dalkit')} is installed; there is no {CARRIED} to compare."
    if (project / CARRIED).is_dir():
        said = f"{CARRIED} is as released ({version_of(project / CARRIED)})."
    tool = read_toml(project / "pyproject.toml").get("tool", {})
    of_template = tool.get("dalkit", {}).get("template", {}).get("version", TEMPLATE)
    if numbers(of_template) < numbers(TEMPLATE):
        said += (
            f" The service is of template {of_template}, and this dalkit came with {TEMPLATE}:"
            " make update."
        )
    return said


def wrong_python(project: Path) -> Iterator[str]:
    mine = platform.python_version()
    for folder in (project, project / CARRIED):
        needed = read_toml(folder / "pyproject.toml").get("project", {}).get("requires-python", "")
        if not satisfies(mine, needed):
            yield (
                f"This is Python {mine}, and the service needs {needed}:"
                " install one, and make the environment anew (rm -rf .venv)."
            )
            return


def wrong_files(project: Path) -> Iterator[str]:
    carried = project / CARRIED
    if not carried.is_dir():
        uv = read_toml(project / "pyproject.toml").get("tool", {}).get("uv", {})
        if uv.get("sources", {}).get("dalkit", {}).get("path") == CARRIED:
            yield (
                f"pyproject.toml says that dalkit is in {CARRIED}, which is not there:"
                f" git checkout {CARRIED}, or delete the line."
            )
        return
    try:
        edits = edits_of(carried)
    except (OSError, ValueError):
        yield (
            f"{CARRIED}/MANIFEST is missing or damaged, so nobody can tell what was edited there:"
            f" git checkout {CARRIED}/MANIFEST."
        )
        return
    if listed := "; ".join(f"{how} {', '.join(paths)}" for how, paths in edits.items()):
        yield (
            f"{CARRIED} is not as released ({listed}): a newer release replaces the folder, and"
            " your change with it, so `make update` refuses. Bring it upstream and"
            f" git checkout {CARRIED}, or keep a fork."
        )


def edits_of(carried: Path) -> dict[str, list[str]]:
    """Return what is not as released: `edited`, `added`, `removed`; raises OSError, ValueError."""
    released, found = read_manifest(carried), digests_of(carried)
    edits = {
        "edited": [path for path in released if found.get(path, released[path]) != released[path]],
        "added": found.keys() - released.keys(),
        "removed": released.keys() - found.keys(),
    }
    return {how: sorted(paths) for how, paths in edits.items() if paths}


def wrong_version(project: Path) -> Iterator[str]:
    installed = version("dalkit")
    table = read_toml(project / "pyproject.toml").get("project", {})
    for requirement in table.get("dependencies", ()):
        found = re.fullmatch(r"dalkit\s*(\[[^]]*\])?\s*([^;@]*).*", requirement)
        if found and not satisfies(installed, found[2]):
            yield (
                f"dalkit {installed} is installed, and pyproject.toml needs {requirement}:"
                " uv sync, or change the line."
            )
    carried = read_toml(project / CARRIED / "pyproject.toml").get("project", {}).get("version")
    if carried not in (None, installed):
        yield (
            f"dalkit {installed} is installed, and {CARRIED} is {carried}:"
            " install it (uv sync --reinstall-package dalkit)."
        )


def missing_extras(project: Path) -> Iterator[str]:
    """Tell which parts of dalkit the service's code names without their extra installed."""
    missing = {name for name, them in MODULES.items() if not all(map(is_installed, them))}
    for file in sorted(f for top in ("src", "tests") for f in (project / top).rglob("*.py")):
        for part in parts_named(file):
            if (name := PARTS[part]) in missing:
                missing.remove(name)  # once is enough
                yield (
                    f"{file.relative_to(project).as_posix()} uses {part}, which needs the extra"
                    f" {name}: add it to dalkit[...] in pyproject.toml and install again."
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
                names.update(f"{module}.{alias.name}" for alias in node.names)
            case ast.Constant(value=str(text)):
                names.add(text)
    return [part for part in PARTS if any(f"{name}.".startswith(f"{part}.") for name in names)]


def is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the package that it is in
        return False


def satisfies(version: str, specifiers: str) -> bool:
    """Return whether a version is one of those, such as `>=3.11,<4`; unknown forms are passed."""
    pairs = re.findall(r"(>=|<=|==|!=|>|<)\s*(\d+(?:\.\d+)*)\s*(?:,|$)", specifiers)
    return all(COMPARE[sign](numbers(version), numbers(other)) for sign, other in pairs)


def numbers(version: str) -> list[int]:
    """Return three numbers: 3.11 is 3.11.0."""
    return [int(number) for number in re.findall(r"\d+", f"{version}.0.0")[:3]]
