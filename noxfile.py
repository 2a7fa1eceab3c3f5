"""The checks of the template itself; `make check` runs them all."""

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "tests"]


@nox.session
def lint(session: nox.Session) -> None:
    """Check format and lint."""
    session.run("ruff", "format", "--check")
    session.run("ruff", "check")


@nox.session
def types(session: nox.Session) -> None:
    """Check types."""
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the template's tests, which run those of the generated service."""
    session.run("pytest", "-n", "2", *session.posargs)
