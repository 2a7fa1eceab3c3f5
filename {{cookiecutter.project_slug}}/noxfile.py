"""The checks of this project; some of them: `uv run nox -s tests-3.13 -- -k name`."""

import os

import nox

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]

nox.needs_version = ">=2026.10"
nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "toolkit", "openapi", "tests", "migrations"]


@nox.session
def fmt(session: nox.Session) -> None:
    """Format the code and apply safe fixes."""
    session.run("ruff", "format", *session.posargs)
    session.run("ruff", "check", "--fix", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check format and lint."""
    session.run("ruff", "format", "--check")
    session.run("ruff", "check")


@nox.session
def types(session: nox.Session) -> None:
    """Check types."""
    session.run("mypy", *session.posargs)


@nox.session
def toolkit(session: nox.Session) -> None:
    """Tell whether packages/dalkit is as released."""
    session.run("dalkit", "doctor")


@nox.session
def openapi(session: nox.Session) -> None:
    """Compare openapi.json with the code."""
    session.run("python", "-m", "{{ cookiecutter.__package_name }}.cli", "openapi", "--check")


@nox.session(python=PYTHONS, venv_backend="uv", download_python="never")
def tests(session: nox.Session) -> None:
    """Run the tests on every supported Python that is installed; arguments go to pytest."""
    session.env["UV_PROJECT_ENVIRONMENT"] = session.virtualenv.location
    uv = os.environ.get("UV", "uv")
    session.run_install(uv, "sync", "--quiet", f"--python={session.python}", external=True)
    report = ["--cov", "--cov-report=term", "--cov-report=xml"]
    session.run("pytest", *(session.posargs or ["-n", "2", *report]))


@nox.session
def migrations(session: nox.Session) -> None:
    """Try the migrations on an empty database, and let squawk read those that are new."""
    session.run("dalkit", "check-migrations")
    session.run("dalkit", "lint-migrations")
