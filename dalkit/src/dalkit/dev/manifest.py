"""MANIFEST: what packages/dalkit of a service was released with. Needs nothing but Python.

The template's hook runs this file by its path, `runpy.run_path(...)["write_manifest"](folder)`.
The format is sha256sum's, after the line `# dalkit 0.1.0`.
"""

import re
from hashlib import sha256
from pathlib import Path

NAME = "MANIFEST"
TITLE = "# dalkit "
MADE_BY_TOOLS = re.compile(r"(^|/)(\.[^/]*|__pycache__|build|dist|[^/]*\.egg-info)(/|$)|\.pyc$")


def write_manifest(folder: Path) -> None:
    """Write the MANIFEST of `folder`, whose pyproject.toml has the version."""
    lines = [TITLE + version_of(folder)]
    lines += [f"{digest}  {path}" for path, digest in sorted(digests_of(folder).items())]
    (folder / NAME).write_bytes("".join(f"{line}\n" for line in lines).encode())


def read_manifest(folder: Path) -> dict[str, str]:
    """Return the digest of each file as released, by its path; raises OSError, ValueError."""
    first, *lines = (folder / NAME).read_text("utf-8").splitlines() or [""]
    if not first.startswith(TITLE):
        raise ValueError(f"{folder / NAME} does not begin with {TITLE!r}.")
    return {path: digest for digest, path in (line.split("  ", 1) for line in lines)}


def digests_of(folder: Path) -> dict[str, str]:
    """Return the digest of each file, by its path; git may have changed the ends of the lines."""
    found = {}
    for file in folder.rglob("*"):
        path = file.relative_to(folder).as_posix()
        if file.is_file() and path != NAME and not MADE_BY_TOOLS.search(path):
            found[path] = sha256(file.read_bytes().replace(b"\r\n", b"\n")).hexdigest()
    return found


def version_of(folder: Path) -> str:
    """Return the version in the pyproject.toml of `folder`; raises OSError, ValueError."""
    found = re.search(r'(?m)^version = "(.+)"', (folder / "pyproject.toml").read_text("utf-8"))
    if not found:
        raise ValueError(f"{folder / 'pyproject.toml'} has no version.")
    return found[1]
