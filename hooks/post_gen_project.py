"""Deletes what was declined."""

import json
import shutil
from pathlib import Path

ANSWERS = json.loads(r"""{{ cookiecutter | tojson }}""")
PACKAGE = f"src/{ANSWERS['__package_name']}"

PATHS = {
    ("use_auth0", True): [f"{PACKAGE}/auth", "tests/auth", "dev/issuer", "dev/services"],
    ("use_slack", True): [f"{PACKAGE}/slack", "tests/slack"],
    ("use_bulk", True): [
        f"{PACKAGE}/db/bulk",
        f"{PACKAGE}/books/bulk",
        f"{PACKAGE}/commands/bulk.py",
        "tests/db/bulk",
        "tests/books/bulk",
        "tests/commands",
    ],
    ("ci", "github"): [".github"],
    ("ci", "gitlab"): [".gitlab-ci.yml"],
}

for (question, answer), paths in PATHS.items():
    if ANSWERS[question] != answer:
        for path in map(Path, paths):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
