"""The template that a service was generated from: its address, its versions, what they render."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .project import read_toml

RECORD = ".cruft.json"
CRUFT = "cruft>=2.16,<3"
HOSTS = {"gh": "github.com", "gl": "gitlab.com", "bb": "bitbucket.org"}  # cookiecutter's words
RELEASE = re.compile(r"v(\d+)\.(\d+)\.(\d+)")


class UpdateError(Exception):
    """Why a service cannot be updated, in one sentence."""


def git(folder: Path, *arguments: str, given: str = "", **variables: str) -> str:
    """Return what git writes in `folder`, raises UpdateError with its complaint."""
    try:
        result = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env=os.environ | {"LC_ALL": "C"} | variables,
            input=given,
            capture_output=True,
            check=False,
            encoding="utf-8",
            errors="surrogateescape",
        )
    except FileNotFoundError:
        raise UpdateError("An update needs git, which is not installed.") from None
    if result.returncode:
        complaint = re.search(r"(?m)^(?:fatal|error): (.+)", result.stderr)
        raise UpdateError(complaint[1] if complaint else f"git {arguments[0]} failed.")
    return result.stdout


def read_record(project: Path) -> dict[str, Any]:
    """Return what .cruft.json says, or for want of it the same from [tool.dalkit.template].

    Template 0.2 left the table only, with the version in place of the commit.
    """
    try:
        record: dict[str, Any] = json.loads((project / RECORD).read_text("utf-8"))
        if isinstance(record["template"], str) and isinstance(record["commit"], str):
            record["context"]["cookiecutter"].items()
            return record
    except FileNotFoundError:
        return _record_of_table(read_toml(project / "pyproject.toml"))
    except (ValueError, LookupError, TypeError, AttributeError):
        pass
    raise UpdateError(f"{RECORD} is damaged: git log {RECORD} has an earlier one.")


def _record_of_table(pyproject: Mapping[str, Any]) -> dict[str, Any]:
    """What cruft would have recorded, as far as pyproject.toml tells."""
    project, tool = pyproject.get("project", {}), pyproject.get("tool", {})
    table = tool.get("dalkit", {}).get("template")
    if not table:
        raise UpdateError(
            f"Neither {RECORD} nor [tool.dalkit.template] of pyproject.toml says which template"
            " this service is from: bring one of them back from the history of git."
        )
    answers = dict(table["answers"])
    options = answers.pop("options", ())
    people = {name: text for author in project.get("authors", ()) for name, text in author.items()}
    answers |= {name: name in options for name in ("use_auth0", "use_slack")}
    answers["project_slug"] = project["name"]
    answers["description"] = project.get("description", "")
    answers |= {f"author_{name}": people[name] for name in ("name", "email") if name in people}
    commit = f"v{table['version']}"
    context = {"cookiecutter": answers}
    return {"template": table["address"], "commit": commit, "context": context}


@dataclass(frozen=True)
class Template:
    """A clone of the template's repository, with all of its history."""

    clone: Path
    address: str
    directory: str = ""
    """The template within its repository, when it is not the whole of it."""

    def commit_of(self, version: str) -> str | None:
        """Return the commit of a tag, with or without its v, of a branch or of a commit."""
        for name in (version, f"v{version}", f"origin/{version}"):
            arguments = ("--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
            try:
                return git(self.clone, "rev-parse", *arguments).strip().splitlines()[-1]
            except UpdateError:
                continue
        return None

    def releases(self) -> list[str]:
        """Return the tags of released versions, the newest last."""
        found = [RELEASE.fullmatch(tag) for tag in git(self.clone, "tag").split()]
        numbers = {match[0]: tuple(map(int, match.groups())) for match in found if match}
        return sorted(numbers, key=numbers.__getitem__)

    @property
    def branch(self) -> str:
        """The branch that one gets without asking for another."""
        return git(self.clone, "rev-parse", "--abbrev-ref", "HEAD").strip()

    def newest_for(self, commit: str) -> str:
        """Return the newest release; the branch's name for who is beyond it, or if there is none.

        A service that was made between two releases follows the branch until the next one.
        """
        for release in self.releases()[-1:]:
            if self.commit_of(release) == commit or not self._is_within(release, commit):
                return release
        return self.branch

    def _is_within(self, release: str, commit: str) -> bool:
        try:
            git(self.clone, "merge-base", "--is-ancestor", release, commit)
        except UpdateError:
            return False
        return True

    def text(self, commit: str, path: str) -> str:
        """Return a file of the template, empty if it has none."""
        name = f"{commit}:{'/'.join(filter(None, (self.directory, path)))}"
        try:
            return git(self.clone, "show", name)
        except UpdateError:
            return ""

    def version_of(self, commit: str) -> str:
        """Return the version that a commit says it has, its first digits if it says none."""
        questions = json.loads(self.text(commit, "cookiecutter.json") or "{}")
        return str(questions.get("__template_version", commit[:7]))

    def render(self, commit: str, answers: Mapping[str, Any], folder: Path) -> Path:
        """Return a service as the template of that commit generates it from these answers.

        A process of its own for each: the template's extension is a module, and a second commit
        would get that of the first.
        """
        folder.mkdir()
        context = folder / "answers.json"
        given = {name: value for name, value in answers.items() if not name.startswith("_")}
        context.write_text(json.dumps(given), "utf-8")
        output = folder / "service"
        output.mkdir()
        command = [*cruft_command(), "create", "--no-input", "--default-config"]
        command += ["--checkout", commit, "--extra-context-file", str(context)]
        command += ["--output-dir", str(output), *self._directory(), str(self.clone)]
        result = subprocess.run(
            command, cwd=folder, capture_output=True, check=False, text=True, encoding="utf-8"
        )
        if result.returncode:
            version, said = self.version_of(commit), result.stderr.strip()
            raise UpdateError(f"{said}\nTemplate {version} could not be rendered.")
        return next(output.iterdir())

    def _directory(self) -> Sequence[str]:
        return ("--directory", self.directory) if self.directory else ()


def fetch(record: Mapping[str, Any], address: str | None, folder: Path) -> Template:
    """Return a clone of the template in `folder`; raises UpdateError where it cannot be had.

    Without an `address` it is the recorded one, or, when that is a folder of another machine, the
    origin of the clone that was in it.
    """
    given = plain_address(address or record["template"])
    origin = plain_address(record.get("origin") or "")
    if not address and origin and is_folder(given) and not Path(given).exists():
        given = origin
    elsewhere = 'make update ARGS="--template ADDRESS" takes it from elsewhere'
    if given.partition("?")[0].endswith(".zip"):
        raise UpdateError(
            f"The template {given} is a zip, and an update needs its git repository: {elsewhere}."
        )
    if is_folder(given):
        given = str(Path(given).expanduser().absolute())
        if not Path(given).exists():
            raise UpdateError(f"The template {given} is not there any more: {elsewhere}.")
    shown = without_credentials(given)
    try:
        git(folder, "clone", "--quiet", "--no-checkout", "--", given, "template")
    except UpdateError as error:
        reason = str(error).rstrip(".")
        raise UpdateError(f"The template {shown} cannot be had ({reason}): {elsewhere}.") from None
    return Template(folder / "template", shown, record.get("directory") or "")


def plain_address(address: str) -> str:
    """Return the address as git takes it; cookiecutter also takes `git+https://` and `gh:`."""
    word, _, rest = address.partition(":")
    if word in HOSTS:
        return f"https://{HOSTS[word]}/{rest}.git"
    return address.removeprefix("git+")


def without_credentials(address: str) -> str:
    """Return an address without the token or password in it: it is printed and committed."""
    return re.sub(r"^(https?://)[^/@]+@", r"\1", address)


def is_folder(address: str) -> bool:
    return Path(address).is_absolute() or ":" not in address


def cruft_command() -> list[str]:
    """Return what runs cruft: that of this environment, or one that uv fetches and keeps."""
    if find_spec("cruft"):
        return [sys.executable, "-m", "cruft"]
    uv = os.environ.get("UV") or shutil.which("uv")
    if not uv:
        raise UpdateError(f"An update needs cruft, which is not installed: pip install '{CRUFT}'.")
    return [uv, "tool", "run", "--quiet", "--python", sys.executable, "--from", CRUFT, "cruft"]


def require_cruft() -> None:
    """Raise UpdateError when uv would have to fetch cruft and cannot."""
    command = [*cruft_command(), "--help"]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        raise UpdateError(
            f"An update needs {CRUFT}, which cannot be fetched: try again with a network."
        )
