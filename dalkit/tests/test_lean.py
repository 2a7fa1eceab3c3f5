"""What a process that serves imports, which it pays for with its start and its memory."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dalkit.schema.expected import History, Status, compare_with_expected, read_history
from dalkit.schema.revisions import alembic_config, head_revision

from tests.paths import PROJECT

#: What no process that serves imports, whatever its options are.
NEVER = {
    *("alembic", "mako", "pygments", "rich", "pytest"),
    *("sqlalchemy.orm", "httpx._main", "pydantic.v1"),
}
#: What only tracing imports.
TRACING = {"opentelemetry.sdk", "opentelemetry.exporter"}
#: Serves, and writes the modules to the file of the first argument when it ends.
PROGRAM = """
import atexit, json, sys
from tests.service.cli import app
path = sys.argv.pop(1)
named = lambda: [name for name, module in sys.modules.items() if module is not None]
atexit.register(lambda: open(path, "w").write(json.dumps(named())))
app()
"""
DEV_ISSUER = {"AUTH0_DEV_ISSUER": "http://127.0.0.1:9/", "AUTH0_AUDIENCE": "https://api"}
OPTIONS = {
    "off": {},
    "on": {
        "LOG_FORMAT": "console",
        "SLACK_WEBHOOK_URL": "http://127.0.0.1:9/",
        "SLACK_ENVIRONMENTS": "local",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1",  # seconds
    },
}
MIGRATION = 'revision = "{}"\ndown_revision = {}\n'


@pytest.mark.parametrize("name", OPTIONS)
def test_a_process_that_serves_imports_nothing_that_it_does_not_use(
    name: str, engine_uri: str, tmp_path: Path
) -> None:
    told = tmp_path / "modules.json"
    environment = {**DEV_ISSUER, **OPTIONS[name], "DATABASE_URL": engine_uri}
    with serving(told, environment) as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        assert any("Uvicorn running" in line for line in lines), "It did not start."
        process.send_signal(signal.SIGINT)  # after SIGTERM it would end by that signal
        process.communicate(timeout=60)
    modules = set(json.loads(told.read_text()))
    assert {"fastapi", "sqlalchemy.ext.asyncio", "jwt", "dalkit.database"} <= modules
    unwanted = NEVER if name == "on" else NEVER | TRACING
    assert not modules & unwanted
    assert modules >= TRACING or name != "on"


@contextmanager
def serving(told: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Serve on a port that is free, and end it."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(told), "serve", "--port", "0"],
        cwd=PROJECT / "tests" / "service",
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_names_of_the_orm_are_imported_when_they_are_asked_for() -> None:
    program = """
import sys
import dalkit.data
assert "sqlalchemy.orm" not in sys.modules
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session
import sqlalchemy.ext.asyncio as module
home = sys.modules["sqlalchemy.ext.asyncio.session"]
assert module.AsyncSession is AsyncSession is home.AsyncSession
try:
    module.AsyncSessions
except AttributeError as error:
    print(error)
"""
    told = run(program)
    assert told == "module 'sqlalchemy.ext.asyncio' has no attribute 'AsyncSessions'"


def test_sqlalchemy_lacks_no_name_of_its_own() -> None:
    listing = "print(*sorted(n for n in vars(module) if n[0] != '_'))"
    plain = run(f"import sqlalchemy.ext.asyncio as module; {listing}")
    names = plain.split()
    lean = "import dalkit.data, sqlalchemy.ext.asyncio as module"
    asked = f"{lean}; [getattr(module, name) for name in {names}]"
    assert {"AsyncEngine", "AsyncSession", "async_sessionmaker"} <= set(names)
    assert set(names) <= set(run(f"{asked}; {listing}").split())


def test_what_is_hidden_from_a_package_is_there_for_others() -> None:
    program = """
import dalkit.slack, structlog.dev, sys, rich, httpx
from rich.console import Console
assert structlog.dev.rich is None
print(Console.__name__)
"""
    assert run(program) == "Console"


def test_a_model_of_pydantic_v1_is_still_known() -> None:
    program = """
import warnings
warnings.simplefilter("ignore")
import sys, dalkit.web
from fastapi._compat import shared
assert not shared.is_pydantic_v1_model_class(int) and "pydantic.v1" not in sys.modules
from pydantic import v1
class Old(v1.BaseModel): pass
print(shared.is_pydantic_v1_model_class(Old), shared.is_pydantic_v1_model_class(int))
"""
    assert run(program) == "True False"


def run(program: str) -> str:
    """Return what the program prints, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=PROJECT
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def ini(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An alembic.ini whose migrations are `a` and, after it, `b`."""
    path = tmp_path / "alembic.ini"
    path.write_text("[alembic]\nscript_location = %(here)s/migrations\n")
    add(path, "a", "None")
    add(path, "b", '"a"')
    monkeypatch.setenv("ALEMBIC_CONFIG", str(path))
    return path


def add(ini: Path, revision: str, down: str, more: str = "", name: str = "") -> None:
    """Write a migration."""
    folder = ini.parent / "migrations" / "versions"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name or revision}.py").write_text(MIGRATION.format(revision, down) + more)


def test_migrations_are_read_as_alembic_reads_them(ini: Path) -> None:
    assert read_history(ini) == History("b", frozenset("ab"))
    assert head_revision(alembic_config()) == "b"
    add(ini, "c", '"a"')
    add(ini, "d", '("b", "c")', more="branch_labels: str | None = None\n")
    assert read_history(ini) == History("d", frozenset("abcd"))
    assert head_revision(alembic_config()) == "d"


@pytest.mark.parametrize(
    ("revision", "status"),
    [
        (None, Status.NO_INFO),
        ("a", Status.UPGRADE_AVAILABLE),
        ("b", Status.UP_TO_DATE),
        ("z", Status.NEWER),
    ],
)
@pytest.mark.parametrize("more", ["", "branch_labels = ['x']\n"])
def test_a_revision_is_compared_the_same_with_alembic_and_without(
    revision: str | None, status: Status, more: str, ini: Path
) -> None:
    add(ini, "b", '"a"', more)
    assert (read_history(ini) is None) == bool(more)
    assert compare_with_expected(revision) is status


@pytest.mark.parametrize(
    ("revision", "down", "more"),
    [
        ("c", '"a"', ""),  # a second head
        ("c", '"nothing"', ""),
        ("c", "previous()", ""),
        ("c", '"b"', "depends_on = 'a'\n"),
        ("c", '"b"', "branch_labels = ('x',)\n"),
        ("b", '"a"', ""),  # in a second file
        ("c", '"b"', "def f(:\n"),
    ],
)
def test_alembic_is_asked_about_whatever_is_not_plain(
    revision: str, down: str, more: str, ini: Path
) -> None:
    add(ini, revision, down, more, name="another")
    assert read_history(ini) is None


@pytest.mark.parametrize("option", ["version_locations = %(here)s/x", "sourceless = true"])
def test_alembic_is_asked_when_the_migrations_are_elsewhere(option: str, ini: Path) -> None:
    ini.write_text(f"{ini.read_text()}{option}\n")
    assert read_history(ini) is None
