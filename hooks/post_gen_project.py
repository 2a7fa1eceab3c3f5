"""Carries the library over, deletes what was declined, records what an update goes by."""

import json
import re
import runpy
import shutil
import subprocess
from pathlib import Path
from typing import Any

ANSWERS = json.loads(r"""{{ cookiecutter | tojson }}""")
TEMPLATE = json.loads(r"""{{ {"folder": template_folder} | tojson }}""")["folder"]
SOURCE = json.loads(r"""{{ {"address": cookiecutter._template | without_credentials} | tojson }}""")
LIBRARY = Path(TEMPLATE, "dalkit")
TARGET = Path("packages", "dalkit")
CARRIED = ("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "docs", "src")

DECLINED = {
    ("use_auth0", True): ["tests/test_access.py", "tests/books/test_scopes.py"],
    ("ci", "github"): [".github"],
    ("ci", "gitlab"): [".gitlab-ci.yml", "renovate.json"],
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


def git(*arguments: str) -> str:
    """Return what git says in the template's folder; nothing where it is not there or fails."""
    command = ["git", "-C", TEMPLATE, *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def commit_of_template(is_repository: bool) -> str:
    """Return the template's commit; the tag of its version where it cannot be known, as in a zip.

    What `git archive` packs, as GitHub and GitLab do for a download, has the commit in a file.
    """
    archived = Path(TEMPLATE, ".archived-commit").read_text("utf-8").strip()
    commit = git("rev-parse", "HEAD") if is_repository else archived
    is_known = re.fullmatch(r"[0-9a-f]{40,64}", commit)
    return commit if is_known else f"v{ANSWERS['__template_version']}"


def record_template() -> None:
    """Write .cruft.json, as cruft does: where the template is, its commit and the answers.

    cruft itself hands over `_commit`, and writes the file afterwards. A template in a folder may
    be a clone, so its `origin` is recorded too: the folder is there on one machine only.
    """
    if "_commit" in ANSWERS:
        return
    address: str = SOURCE["address"]
    state: dict[str, Any] = {}
    is_repository = bool(git("ls-files", "cookiecutter.json"))
    origin = git("config", "remote.origin.url") if is_repository else ""
    origin = re.sub(r"^(https?://)[^/@]+@", r"\1", origin)
    if ":" in address and not Path(address).is_absolute():
        address = origin or address
    elif not address.endswith(".zip"):
        address = (is_repository and git("rev-parse", "--show-toplevel")) or TEMPLATE
        state = {"origin": origin} if origin else {}
    commit = commit_of_template(is_repository)
    answers = {name: answer for name, answer in ANSWERS.items() if not name.startswith("_")}
    answers |= {"_template": address, "_commit": commit}
    folder = git("rev-parse", "--show-prefix").rstrip("/") if is_repository else ""
    state |= {
        "template": address,
        "commit": commit,
        "checkout": None,
        "context": {"cookiecutter": answers},
        "directory": folder or None,
    }
    text = json.dumps(state, ensure_ascii=False, indent=2)
    Path(".cruft.json").write_text(f"{text}\n", "utf-8")


def delete_declined() -> None:
    """Delete the files of what was not chosen."""
    for (question, answer), paths in DECLINED.items():
        if ANSWERS[question] != answer:
            for path in map(Path, paths):
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


if __name__ == "__main__":
    carry_library()
    delete_declined()
    record_template()
