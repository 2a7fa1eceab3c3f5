"""The README's first commands: `make demo`, and pip and python in place of make and uv."""

import os
import re
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from .baking import ROOT, bake
from .boot import free_port
from .conftest import Shared
from .environments import environment

URL = re.compile(r"http://127\.0\.0\.1:\d+/\S*")


@pytest.fixture(scope="session")
def repository(shared: Shared) -> Path:
    """A copy of this repository, with nothing that git ignores, in a folder of an awkward name."""

    def copy(folder: Path) -> None:
        listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        files = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True)
        for name in filter(None, files.stdout.split("\0")):
            if (ROOT / name).exists():  # and not deleted since the last commit
                target = folder / "a demo é" / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, target)

    return shared("first hour", copy) / "a demo é"


@contextmanager
def started(folder: Path, command: Sequence[str], **variables: str) -> Iterator[dict[str, str]]:
    """Run a command that ends in `dalkit run`; yield what it says. Ctrl-C ends it, silently."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
    )
    said: dict[str, str] = {}
    written: list[str] = []
    assert process.stdout is not None
    try:
        while "database" not in said:
            written.append(process.stdout.readline())
            assert written[-1], "".join(written)
            if line := re.fullmatch(r"  (service|a token|a call|database) +(.*)\n", written[-1]):
                said[line[1]] = line[2]
        yield said
    finally:
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        rest = process.communicate(timeout=60)[0]
    assert "warning" not in rest
    assert "Traceback" not in rest


def answers(said: dict[str, str], folder: Path) -> bool:
    """Return whether the address and the call that were printed work as they are."""
    url = URL.match(said["service"])
    assert url is not None
    with urllib.request.urlopen(url[0], timeout=10) as page:
        assert "Call it" in page.read().decode()
    if shutil.which("curl") is None:
        pytest.skip("There is no curl to type the call into that was printed.")
    call = said["a call"].replace("curl", "curl --silent --fail", 1)
    called = subprocess.run(
        ["sh", "-c", call],
        cwd=folder,
        env=environment(),
        check=True,
        capture_output=True,
        text=True,
    )
    return "Solaris" in called.stdout and called.stderr == ""


def test_the_demo_works_twice_at_once_and_offline(repository: Path) -> None:
    """The second leaves the first alone, and a third on the first one's port says so."""
    ports = [str(free_port()) for _ in range(2)]
    with started(repository, ["make", "demo", f"PORT={ports[0]}"]) as first:
        service = repository / ".demo" / ports[0] / "my-service"
        before = service.stat().st_mtime_ns
        with started(repository, ["make", "demo", f"PORT={ports[1]}"], UV_OFFLINE="1") as second:
            assert answers(second, repository)
        taken = subprocess.run(
            ["make", "-s", "demo", f"PORT={ports[0]}"],
            cwd=repository,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert taken.returncode
        sentence = taken.stderr.splitlines()[0]
        assert sentence.startswith(f"Port {ports[0]} cannot be used (Address already in use): ")
        assert sentence.endswith("choose another, make demo PORT=8001")
        assert service.stat().st_mtime_ns == before
        assert answers(first, repository)
    # Once more: no uv is needed, as the template is the same.
    python = service / ".venv" / "bin" / "python"
    command = [str(python), "commands/demo.py", ports[0], "no-uv", "no-cookiecutter"]
    with started(repository, command) as again:
        assert answers(again, repository)


def test_the_demo_of_another_template_is_made_anew(repository: Path, tmp_path: Path) -> None:
    """What it was made of decides: a changed, an added or a removed file."""
    copy = tmp_path / "copy"
    shutil.copytree(repository, copy, ignore=shutil.ignore_patterns(".demo"))
    code = "import runpy; print(runpy.run_path('commands/demo.py')['fingerprint']())"

    def fingerprint() -> str:
        return subprocess.run(
            ["python3", "-c", code], cwd=copy, check=True, capture_output=True, text=True
        ).stdout

    seen = {fingerprint()}
    (copy / "dalkit" / "src" / "dalkit" / "new.py").touch()
    seen.add(fingerprint())
    (copy / "cookiecutter.json").write_text("{}")
    seen.add(fingerprint())
    (copy / "hooks" / "pre_gen_project.py").unlink()
    seen.add(fingerprint())
    assert len(seen) == 4
    (copy / "docs" / "new.md").touch()
    assert fingerprint() in seen


def test_pip_and_python_do_without_make_and_uv(repository: Path) -> None:
    """The README's lines as they stand."""
    text = (repository / "README.md").read_text("utf-8")
    block = re.search(r"Without make and uv.*?```console\n(.*?)```", text, re.DOTALL)
    assert block is not None
    lines = [line.removeprefix("$ ") for line in block[1].splitlines()]
    assert len(lines) == 5
    script = "\n".join(["set -e", *lines[:-1], f"exec {lines[-1]}"])
    quick = {"PIP_NO_COMPILE": "1", "PIP_QUIET": "1", "PORT": str(free_port())}
    with started(repository, ["sh", "-c", script], **quick) as said:
        assert answers(said, repository)


@pytest.mark.parametrize("version", ["Python 3.10.1", None])
@pytest.mark.parametrize("target", ["new", "run"])
def test_no_python_is_one_sentence(
    target: str, version: str | None, repository: Path, tmp_path: Path
) -> None:
    """In the template and in a service."""
    if target == "new":
        # Where there is no uv, other tests have installed one into .tools/.
        unwanted = shutil.ignore_patterns(".demo", ".tools")
        folder = shutil.copytree(repository, tmp_path / "template", ignore=unwanted)
    else:
        folder = bake(tmp_path / "services")
    programs = tmp_path / "bin"
    programs.mkdir()
    for program in Path("/usr/bin").iterdir():
        if not program.name.startswith(("python", "uv")):
            (programs / program.name).symlink_to(program)
    if version:
        old = programs / "python3"
        old.write_text(f"#!/bin/sh\n[ \"$1\" = --version ] && echo '{version}'\n")
        old.chmod(0o755)
    ended = subprocess.run(
        ["make", "-s", target],
        cwd=folder,
        env={"PATH": str(programs)},
        capture_output=True,
        text=True,
        check=False,
    )
    sentence = ended.stderr.splitlines()[0]
    assert ended.returncode
    assert sentence.startswith(
        f"This needs Python >= 3.11, and python3 is {version or 'not there'}:"
    )
    assert not (folder / ".tools").exists()
