"""Run a command on the database of `dalkit run`."""

import sys
from contextlib import redirect_stdout

from . import run
from .project import Project


def execute(project: Project, command: list[str]) -> int:
    """Return the exit status of the command, 127 when there is none of that name.

    Its DATABASE_URL is the configured one; without any, the project's own PostgreSQL is started,
    or shared with a running `dalkit run`.
    """
    environment = run.read_environment(project)
    # The standard output is the command's.
    with redirect_stdout(sys.stderr), run.database(project, environment) as added:
        try:
            return run.execute(project, command, {**environment, **added})
        except OSError as error:
            print(f"{command[0]}: {error.strerror}", file=sys.stderr)
            return 127
