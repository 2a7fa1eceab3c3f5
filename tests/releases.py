"""Repositories of the template: today's, with a second version of it, or with the previous one."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

from .baking import ROOT
from .environments import run

SERVICE = "{{cookiecutter.project_slug}}"
PACKAGE = f"{SERVICE}/src/{{{{cookiecutter.__package_name}}}}"
COOKIECUTTER = (sys.executable, "-m", "cookiecutter", "--no-input", "--config-file", "/dev/null")
AUTHOR = ("-c", "user.name=t", "-c", "user.email=t@example.com")
UNNEEDED = shutil.ignore_patterns(
    *(".git", ".venv", ".nox", ".cache", ".demo", ".tools", "*_cache", "__pycache__", "uv.lock")
)
VERSION: str = json.loads((ROOT / "cookiecutter.json").read_text())["__template_version"]
SECOND = "99.0.0"

#: A file of each kind that is changed: (file, old, new).
CHANGED = [
    (
        "cookiecutter.json",
        f'"__template_version": "{VERSION}"',
        f'"__template_version": "{SECOND}"',
    ),
    ("UPGRADING.md", "\n## ", f"\n## Template {SECOND}\n\nSecurity: no.\n\nMind the gap.\n\n## "),
    (
        f"{PACKAGE}/app.py",
        "        redirect_slashes=False,\n",
        "        redirect_slashes=False,  # 99\n",
    ),
    (f"{PACKAGE}/settings.py", '"""The service\'s own', '"""Of 99: the service\'s own'),
    (
        f"{SERVICE}/compose.yaml",
        "    image: postgres:18\n    restart:",
        "    image: postgres:99\n    restart:",
    ),
    (f"{SERVICE}/Makefile", "clean: ##", "new-target: ## Of 99\n\t@echo 99\n\nclean: ##"),
    (f"{SERVICE}/pyproject.toml", "[tool.mypy]\n", "[tool.mypy]\npretty = true\n"),
    (f"{SERVICE}/README.md", "\n## License\n", "\n## Of {{ 99 | ninety_nine }}\n\n## License\n"),
    (f"{SERVICE}/Dockerfile", "EXPOSE 8000\n", "EXPOSE 9900\n"),
    (f"{SERVICE}/seed.sql", "INSERT INTO", "-- Of 99\nINSERT INTO"),
    (f"{SERVICE}/tests/books/test_books.py", '"""', '"""Of 99. '),
    (
        "template_extensions.py",
        'environment.filters["package_name"] = package_name',
        'environment.filters |= {"package_name": package_name, "ninety_nine": str}',
    ),
]
ADDED = {
    "dalkit/src/dalkit/ninety_nine.py": '"""Of 99."""\n\nNUMBER = 99\n',
    f"{PACKAGE}/ninety_nine.py": '"""Of 99."""\n\nfrom dalkit.ninety_nine import NUMBER\n\n'
    '__all__ = ["NUMBER"]\n',
    f"{SERVICE}/tests/test_ninety_nine.py": '"""Of 99."""\n\n'
    "from {{ cookiecutter.__package_name }}.ninety_nine import NUMBER\n\n\n"
    "def test_the_library_and_the_service_are_of_one_version() -> None:\n"
    "    assert NUMBER == 99\n",
    f"{PACKAGE}/books/of_99.py": '"""Of 99."""\n',
    f"{SERVICE}/tests/books/test_of_99.py": '"""Of 99."""\n',
    f"{SERVICE}/migrations/versions/0099_of_99.py": '"""Of 99."""\n',
}
REMOVED = (
    "dalkit/docs/speed.md",
    f"{SERVICE}/.dockerignore",
    f"{SERVICE}/tests/authors/test_authors.py",
)


def copy_of_template(folder: Path) -> Path:
    """Write the template as a repository of its own, with all that is not committed yet."""
    shutil.copytree(ROOT, folder, ignore=UNNEEDED)
    run(folder, "git", "init", "--quiet", "--initial-branch=main")
    commit(folder)
    return folder


def commit(folder: Path) -> None:
    """Commit everything there is."""
    run(folder, "git", *AUTHOR, "add", "--all")
    run(folder, "git", *AUTHOR, "commit", "--quiet", "--allow-empty", "--message=all")


def write_second_version(repository: Path) -> None:
    """Commit a version in which a file of each kind is changed, added and removed."""
    for file, old, new in CHANGED:
        text = (repository / file).read_text("utf-8")
        assert old in text, f"{file} has no {old!r}"
        (repository / file).write_text(text.replace(old, new, 1), "utf-8")
    for file, text in ADDED.items():
        (repository / file).write_text(text, "utf-8")
    for file in REMOVED:
        (repository / file).unlink()
    commit(repository)


def previous_release() -> str | None:
    """Return the newest tag of a version before today's, in which the library is carried."""
    command = ["git", "-C", str(ROOT), "tag", "--list", "v*"]
    tags = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found = {numbers(tag): tag for tag in tags.split() if re.fullmatch(r"v\d+\.\d+\.\d+", tag)}
    older = [version for version in found if (0, 2, 0) <= version < numbers(VERSION)]
    return found[max(older)] if older else None


def numbers(version: str) -> tuple[int, ...]:
    """Return the numbers of a version."""
    return tuple(map(int, re.findall(r"\d+", version)))


def generate(source: str, folder: Path, *options: str) -> Path:
    """Return the service that cookiecutter's command generates from `source`."""
    run(folder, *COOKIECUTTER, *options, "--output-dir", folder / "out", source, HOME=str(folder))
    return folder / "out" / "my-service"
