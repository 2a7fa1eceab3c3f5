"""The checks of the template itself; `make check` runs them all."""

import nox

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
