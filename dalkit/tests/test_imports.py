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

from tests.paths import PROJECT

#: What no process that serves imports, whatever its options are.
NEVER = {"alembic", "mako", "pytest"}
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
