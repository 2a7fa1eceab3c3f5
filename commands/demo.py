"""`make demo`: generates the default service, unless it is there, and serves it.

Run by the Makefile: demo.py PORT UV COOKIECUTTER, where COOKIECUTTER is what to install.
"""

import hashlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: Of what a service is generated.
TEMPLATE = (
    "{{cookiecutter.project_slug}}",
    "cookiecutter.json",
    "answers.py",
    "template_extensions.py",
    "hooks",
    *(f"dalkit/{name}" for name in ("CHANGELOG.md", "LICENSE", "README.md", "docs", "src")),
    "dalkit/pyproject.toml",
)


def main() -> None:
    """Do what is needed, and become `dalkit run`."""
    port, uv, cookiecutter = sys.argv[1:]
    require_free_port(port)
    folder = ROOT / ".demo" / port
    service, made_of = folder / "my-service", folder / "made-of"
    template = fingerprint()
    if not (made_of.exists() and made_of.read_text() == template):
        made_of.unlink(missing_ok=True)
        generate(folder, uv, cookiecutter)
        install(service, uv)
        made_of.write_text(template)
    print("==> starting Postgres, migrating, adding a few rows and serving", flush=True)
    os.chdir(service)
    dalkit = str(service / ".venv" / "bin" / "dalkit")
    os.execv(dalkit, [dalkit, "run", "--port", port, "--seed"])


def require_free_port(port: str) -> None:
    """Exit with a sentence when nothing can listen on `port`."""
    if not port.isdecimal() or not 0 < int(port) < 65536:
        sys.exit(f"PORT={port} is no port: use a number up to 65535, make demo PORT=8001")
    try:
        socket.create_server(("127.0.0.1", int(port))).close()
    except OSError as error:
        why = os.strerror(error.errno or 0)
        sys.exit(f"Port {port} cannot be used ({why}): choose another, make demo PORT=8001")


def fingerprint() -> str:
    """Return what changes when a file of the template does."""
    digest = hashlib.sha256()
    for path in sorted(path for name in TEMPLATE for path in files(ROOT / name)):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(ROOT)} {len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def files(path: Path) -> Iterator[Path]:
    """Return the files of a folder, or the file itself."""
    found = path.rglob("*") if path.is_dir() else [path]
    return (each for each in found if each.is_file() and "__pycache__" not in each.parts)


def generate(folder: Path, uv: str, cookiecutter: str) -> None:
    """Generate the service anew; its environment stays, as most of what is in it does."""
    service, kept = folder / "my-service", folder / "venv"
    print(f"==> generating {service.relative_to(ROOT)} from the default answers", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    if (service / ".venv").exists():
        (service / ".venv").rename(kept)
    shutil.rmtree(service, ignore_errors=True)
    tool = [uv, "tool", "run", "--quiet", "--from", cookiecutter]
    options = ["--no-input", "--config-file", os.devnull, "--output-dir", str(folder)]
    run(ROOT, [*tool, "cookiecutter", *options, str(ROOT)])
    if kept.exists():
        kept.rename(service / ".venv")


def install(service: Path, uv: str) -> None:
    """Install it, compiled: the first start would compile one file after the other."""
    print("==> installing it", flush=True)
    options = ["--quiet", "--no-dev", "--group", "postgres", "--compile-bytecode"]
    run(service, [uv, "sync", *options])


def run(folder: Path, command: list[str]) -> None:
    """Run a command of uv's with what its cache has, and only then with what the index has."""
    environment = os.environ | {"UV_OFFLINE": "1"}
    try:
        cached = subprocess.run(
            command, cwd=folder, env=environment, check=False, capture_output=True
        )
        if cached.returncode:
            subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
