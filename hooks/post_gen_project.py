"""Carries the library over and deletes what was declined."""

import json
import runpy
import shutil
from pathlib import Path

ANSWERS = json.loads(r"""{{ cookiecutter | tojson }}""")
TEMPLATE = json.loads(r"""{{ {"folder": template_folder} | tojson }}""")["folder"]
LIBRARY = Path(TEMPLATE, "dalkit")
TARGET = Path("packages", "dalkit")
CARRIED = ("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "docs", "src")

DECLINED = {
    ("use_auth0", True): ["tests/test_access.py", "tests/books/test_scopes.py"],
    ("ci", "github"): [".github"],
    ("ci", "gitlab"): [".gitlab-ci.yml"],
}


def carry_library() -> None:
    """Copy the library, and write the MANIFEST by which `dalkit doctor` knows an edited file."""
    shutil.rmtree(TARGET, ignore_errors=True)  # what an earlier generation has left
    for name in CARRIED:
        source, target = LIBRARY / name, TARGET / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        else:
            shutil.copyfile(source, target)
    manifest = runpy.run_path(str(LIBRARY / "src" / "dalkit" / "dev" / "manifest.py"))
    manifest["write_manifest"](TARGET)


def delete_declined() -> None:
    """Delete the files of what was not chosen."""
    for (question, answer), paths in DECLINED.items():
        if ANSWERS[question] != answer:
            for path in map(Path, paths):
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


if __name__ == "__main__":
    carry_library()
    delete_declined()
