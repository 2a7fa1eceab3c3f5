"""Run a command on the database of `make run`: python -m dev.with_database COMMAND [ARGUMENT ...]

The command's DATABASE_URL is the configured one; without any, the project's own PostgreSQL is
started, or shared with a running `make run`.
"""

import sys
from contextlib import redirect_stdout

from dev import run


def main() -> None:
    """Exit as the command does."""
    command = sys.argv[1:]
    if command[:1] == ["--"]:
        command = command[1:]
    if not command:
        sys.exit("Name a command: python -m dev.with_database COMMAND [ARGUMENT ...]")
    run.exit_with(lambda: execute(command))


def execute(command: list[str]) -> int:
    """Return the exit status of the command, 127 when there is none of that name."""
    environment = run.read_environment()
    # The standard output is the command's.
    with redirect_stdout(sys.stderr), run.database(environment) as added:
        try:
            return run.execute(command, {**environment, **added})
        except OSError as error:
            print(f"{command[0]}: {error.strerror}", file=sys.stderr)
            return 127


if __name__ == "__main__":
    main()
