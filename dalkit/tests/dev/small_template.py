"""A small template with two released versions, and a service of the first, each in git."""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from dalkit.dev.manifest import write_manifest

FOLDER = "{{cookiecutter.project_slug}}"
SERVICE = "órders 1"
BINARY = bytes(range(256))
LINES = "".join(f"line {number}\n" for number in range(1, 41))
PYPROJECT = """\
[project]
name = "orders"
version = "0.1.0"

[tool.dalkit]
package = "orders"

[tool.cruft]
skip = ["migrations/versions", "*.sql"]

[tool.dalkit.template]
address = {{ cookiecutter._template | tojson }}
version = "{{ cookiecutter.__template_version }}"
answers = { project_name = "Orders" }

[tool.other]
"""
FIRST: dict[str, str | bytes] = {
    "pyproject.toml": PYPROJECT,
    "src/app.py": LINES,
    "src/settings.py": LINES,
    "src/old.py": "old = 1\n",
    "src/moved.py": LINES.replace("line", "moved"),
    "src/gone.py": LINES.replace("line", "gone"),
    "src/books/router.py": "books = 1\n",
    "src/books/schemas.py": "schemas = 1\n",
    "docs/a b/ünïcode.txt": "text\n" * 9,
    "folder/one.txt": LINES.replace("line", "one"),
    "folder/two.txt": LINES.replace("line", "two"),
    "windows.txt": LINES,
    "logo.png": BINARY,
    "run.sh": "#!/bin/sh\n",
    "seed.sql": "-- 1\n",
    "migrations/versions/0001.py": "first = 1\n",
    "packages/dalkit/pyproject.toml": 'version = "1.0.0"\n',
    "packages/dalkit/src/dalkit/data.py": "data = 1\n",
    "packages/dalkit/src/dalkit/gone.py": "gone = 1\n",
}
SECOND: dict[str, str | bytes | None] = {
    "pyproject.toml": PYPROJECT.replace('name = "orders"', 'name = "orders"\nreadme = "new"'),
    "src/app.py": LINES.replace("line 5\n", "line 5, new\n"),
    "src/old.py": None,
    "src/new.py": "new = 1\n",
    "src/moved.py": None,
    "src/moved_to.py": LINES.replace("line", "moved").replace("moved 3\n", "moved 3, new\n"),
    "src/gone.py": None,
    "src/gone_to.py": LINES.replace("line", "gone"),
    "src/books/router.py": "books = 2\n",
    "src/books/queries.py": "queries = 2\n",
    "docs/a b/ünïcode.txt": "new\n" + "text\n" * 9,
    "docs/a b/new ö.txt": "new\n",
    "folder/one.txt": None,
    "folder/two.txt": None,
    "other folder/one.txt": LINES.replace("line", "one"),
    "other folder/two.txt": LINES.replace("line", "two"),
    "windows.txt": LINES.replace("line 5\n", "line 5, new\n"),
    "logo.png": BINARY[::-1],
    "deploy.sh": "#!/bin/sh\n",
    "seed.sql": "-- 2\n",
    "migrations/versions/0001.py": "first = 2\n",
    "migrations/versions/0002.py": "second = 2\n",
    "packages/dalkit/pyproject.toml": 'version = "2.0.0"\n',
    "packages/dalkit/src/dalkit/data.py": "data = 2\n",
    "packages/dalkit/src/dalkit/gone.py": None,
    "packages/dalkit/src/dalkit/new.py": "new = 2\n",
}
#: In the template, a filter of the second version that the first does not have.
EXTENSION = """
from jinja2.ext import Extension


class Filters(Extension):
    def __init__(self, environment):
        super().__init__(environment)
        environment.filters[{name!r}] = str.{name}
"""
UPGRADING = "# Upgrading\n\n## Template 1.0.0\n\nSecurity: no.\n\nThe first.\n"
NEWER = "## Template 2.0.0\n\nSecurity: yes.\n\nMind the gap.\n"


def git(folder: Path, *arguments: str) -> str:
    """Run git as somebody; return what it writes."""
    who = ("-c", "user.name=t", "-c", "user.email=t@example.com")
    command = ["git", *who, *arguments]
    result = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return result.stdout.strip()


def commit(folder: Path, tag: str | None = None) -> str:
    """Commit all that is in `folder`; return the commit."""
    if not (folder / ".git").exists():
        git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=all")
    if tag:
        git(folder, "tag", tag)
    return git(folder, "rev-parse", "HEAD")


def write(folder: Path, files: Mapping[str, str | bytes | None]) -> None:
    """Write files, and delete those that are None."""
    for name, text in files.items():
        path = folder / name
        if text is None:
            path.unlink()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(0o755 if path.suffix == ".sh" else 0o644)


def write_version(
    repository: Path, version: str, files: Mapping[str, str | bytes | None], used: str
) -> str:
    """Write a version of the template, tagged; return its commit."""
    template = repository / "templates"
    write(template / FOLDER, files)
    write_manifest(template / FOLDER / "packages" / "dalkit")
    text = f"{{{{ cookiecutter.project_name | {used} }}}}\n"
    context = {
        "project_name": "Órders",
        "project_slug": SERVICE,
        "__template_version": version,
        "_extensions": ["extension.Filters"],
    }
    write(
        template,
        {
            "cookiecutter.json": json.dumps(context),
            "extension.py": EXTENSION.format(name=used),
            f"{FOLDER}/NAME": text,
            "UPGRADING.md": UPGRADING if version == "1.0.0" else UPGRADING + NEWER,
        },
    )
    return commit(repository, f"v{version}")


def write_template(repository: Path) -> Path:
    """Write both versions of the template into `templates` of a repository."""
    repository.mkdir(parents=True)
    write_version(repository, "1.0.0", FIRST, "swapcase")
    write_version(repository, "2.0.0", SECOND, "casefold")
    return repository


def generate(repository: Path, folder: Path, version: str = "v1.0.0") -> Path:
    """Return a service of that version, as cruft makes it, committed."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "cruft", "create", "--no-input", "--default-config"]
    command += ["--checkout", version, "--directory", "templates", str(repository)]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    commit(folder / SERVICE)
    return folder / SERVICE


def copy(service: Path, folder: Path) -> Path:
    """Return a copy of a service, with its repository."""
    return Path(shutil.copytree(service, folder / service.name))


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return the mode and content of each file, without those of git."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mode, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file() and ".git" not in path.relative_to(folder).parts
    }
