"""The revision that this code was written for; a service that serves needs no alembic to know it.

Alembic and what it imports are a tenth of a worker's start and of its memory. Migrations that are
written in an ordinary way are read here; where anything is not, alembic is asked.
"""

import ast
import os
import re
from configparser import ConfigParser, Error
from contextlib import suppress
from enum import Enum
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import NamedTuple

# Options of alembic.ini by which migrations are somewhere else, or are more than their source.
_NAMES = ("revision", "down_revision", "branch_labels", "depends_on")
_UNUSUAL = ("version_locations", "recursive_version_locations", "sourceless")


#: Asks, where no revision is found, whether a schema of the search path has one that the role
#: cannot see: PostgreSQL leaves a schema without USAGE out, as if it were not there. A sentence.
HIDDEN_REVISION = """
SELECT format(
    'Role %1$s may not look into schema %2$s, which the migrations are recorded in: '
    'GRANT USAGE ON SCHEMA %2$I TO %1$I.', current_user, nspname)
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relname = 'alembic_version' AND NOT has_schema_privilege(pg_namespace.oid, 'USAGE')
    AND nspname::text = ANY (string_to_array(replace(
        translate(current_setting('search_path'), '" ', ''), '$user', current_user), ','))
"""


class Status(Enum):
    """How the database compares with the migrations."""

    NO_INFO = "no info"
    UPGRADE_AVAILABLE = "upgrade available"
    UP_TO_DATE = "up to date"
    NEWER = "newer"  # at a revision that these migrations do not have


class History(NamedTuple):
    """The newest revision, and all there are."""

    head: str
    revisions: frozenset[str]


def alembic_ini() -> Path:
    """Return the file named by ALEMBIC_CONFIG, else the one in the working directory."""
    return Path(os.environ.get("ALEMBIC_CONFIG") or "alembic.ini").absolute()


def has_migrations() -> bool:
    """Return whether there are migrations: a service may leave its schema to somebody else."""
    return "ALEMBIC_CONFIG" in os.environ or alembic_ini().is_file()


def expected_revision() -> str | None:
    """Return the newest revision of the migrations, None without any; uses no database.

    They are read once in a process. Raises SyncError as `head_revision` does.
    """
    if history := _own_history(alembic_ini()):
        return history.head
    from .revisions import head_revision

    return head_revision()


def compare_with_expected(revision: str | None) -> Status:
    """Return how the revision that a database has compares with the newest of the migrations."""
    history = _own_history(alembic_ini())
    if history is None:
        from .revisions import compare

        return compare(revision)
    if revision == history.head:
        return Status.UP_TO_DATE
    if revision is None:
        return Status.NO_INFO
    return Status.UPGRADE_AVAILABLE if revision in history.revisions else Status.NEWER


def console_script(settings: type) -> str | None:
    """Return the command of the distribution that these settings are of, None without one."""
    package = settings.__module__.partition(".")[0]
    scripts = entry_points(group="console_scripts")
    names = [script.name for script in scripts if script.value.partition(".")[0] == package]
    return names[0] if names and package != __name__.partition(".")[0] else None


def typed_here(target: str, command: str) -> str:
    """Return how `command` is typed in this folder: as a target of its Makefile, if that has it.

    There the service's own command is not on the PATH; in an image there is no Makefile.
    """
    with suppress(OSError):
        text = Path("Makefile").read_text("utf-8", "replace")
        if re.search(rf"(?m)^{target.partition(' ')[0]}:", text):
            return f"make {target}"
    return command


def read_history(ini: Path) -> History | None:
    """Return the history of the migrations; None where only alembic can tell, or has to complain.

    It is one line or has merges, and each file says its revisions in plain texts: no branches with
    labels, no dependencies, no second folder, no number that two files have.
    """
    parser = ConfigParser({"here": str(ini.parent)})
    try:
        parser.read_string(ini.read_text("utf-8"))
        section = parser["alembic"]
        if any(name in section for name in _UNUSUAL):
            return None
        folder = Path(section["script_location"], "versions")
        files = [file for file in folder.iterdir() if file.suffix == ".py"]
        read = [_read_migration(file) for file in files if not file.name.startswith(("__", ".#"))]
    except (Error, KeyError, OSError, ValueError, SyntaxError):
        return None
    migrations = dict(read)
    before = {name for names in migrations.values() for name in names}
    heads = migrations.keys() - before
    if len(heads) != 1 or len(migrations) != len(read) or not before <= migrations.keys():
        return None
    return History(heads.pop(), frozenset(migrations))


@cache
def _own_history(ini: Path) -> History | None:
    return read_history(ini)


def _read_migration(file: Path) -> tuple[str, tuple[str, ...]]:
    """Return its revision and those before it; raises ValueError where they are not plain."""
    values: dict[str, object] = {}
    tree = ast.parse(file.read_bytes())
    for statement in tree.body:
        match statement:
            case ast.Assign(targets=[ast.Name(name)], value=value):
                pass
            case ast.AnnAssign(target=ast.Name(name), value=ast.expr() as value):
                pass
            case _:
                continue
        if name in _NAMES:
            values[name] = ast.literal_eval(value)
    stored = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id in _NAMES]
    if sum(isinstance(node.ctx, ast.Store) for node in stored) != len(values):
        raise ValueError(f"{file} changes what it says of its revisions")
    down = values.get("down_revision")
    before = () if down is None else (down,) if isinstance(down, str) else down
    match values.get("revision"), before:
        case str() as revision, tuple() if (
            all(isinstance(name, str) for name in before)
            and values.get("branch_labels") is None
            and values.get("depends_on") is None
        ):
            return revision, before
    raise ValueError(f"{file} does not say its revisions in plain texts")
