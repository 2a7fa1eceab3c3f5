"""The checks of this repository; `make check` runs the first three."""

import os

import nox

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
#: The library's tests of what the compiled path and SQLAlchemy's own both answer.
ON_BOTH_PATHS = [f"tests/{part}" for part in ("data", "entities", "paging", "bulk", "books", "web")]

nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "tests"]


@nox.session
def lint(session: nox.Session) -> None:
    """Check format and lint."""
    for folder in (".", "dalkit"):
        session.run("ruff", "format", "--check", folder)
        session.run("ruff", "check", folder)


@nox.session
def types(session: nox.Session) -> None:
    """Check types."""
    session.run("mypy")
    with session.chdir("dalkit"):
        session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests of the library and of the template, which runs those of the service."""
    session.run("make", "test", external=True)


@nox.session(python=PYTHONS, venv_backend="uv", download_python="never")
def library(session: nox.Session) -> None:
    """Run the library's tests on every supported Python that is installed, on both paths."""
    session.env["UV_PROJECT_ENVIRONMENT"] = session.virtualenv.location
    uv = os.environ.get("UV", "uv")
    with session.chdir("dalkit"):
        session.run_install(uv, "sync", "--quiet", f"--python={session.python}", external=True)
        session.run("pytest", "-n", "2", "-q", *session.posargs)
        session.run(
            *("pytest", "-n", "2", "-q", "-m", "not slow", *ON_BOTH_PATHS),
            env={"DATABASE_FAST_PATH": "false", "COMPILED_ROUTES": "false"},
        )
