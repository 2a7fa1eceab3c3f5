"""The console script serves, and can be run as a module."""

import subprocess
import sys
from typing import Any

import pytest
import uvicorn
from typer.testing import CliRunner, Result
from uvicorn.supervisors import Multiprocess

from dalkit import server
from dalkit.dev.supervisor import free_port

from tests.paths import PROJECT
from tests.service import cli


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, arguments)


def test_serve_passes_its_options_to_uvicorn(monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[uvicorn.Config] = []

    def run(serving: server.Server) -> None:
        served.append(serving.config)
        serving.started = True

    monkeypatch.setattr(server.Server, "run", run)
    result = invoke("serve", "--host", "0.0.0.0", "--port", "8123")
    assert result.exit_code == 0, result.output
    [config] = served
    assert config.app == f"{cli.__package__}.main:app"
    assert (config.host, config.port, config.workers) == ("0.0.0.0", 8123, 1)
    assert invoke("serve", "--reload", "--workers", "2").exit_code == 2


def test_serve_reloads_what_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(uvicorn, "run", lambda app, **options: given.update(options, app=app))
    result = invoke("serve", "--reload")
    assert result.exit_code == 0, result.output
    assert (given["app"], given["workers"]) == (f"{cli.__package__}.main:app", 1)
    assert given["reload"] is True
    assert len(given["reload_dirs"]) == 1


def test_serve_says_with_its_status_that_it_has_not_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server.Server, "run", lambda _: None)
    assert invoke("serve").exit_code == 3


def test_serve_passes_them_to_several_workers_too(monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[uvicorn.Config] = []
    imported: list[str] = []  # not really: the service's main configures the process's logging

    def run(supervisor: Multiprocess) -> None:
        served.append(supervisor.config)
        for listening in supervisor.sockets:
            listening.close()

    monkeypatch.setattr(Multiprocess, "run", run)
    monkeypatch.setattr(server, "import_module", imported.append)
    port = free_port()
    result = invoke("serve", "--host", "0.0.0.0", "--port", str(port), "--workers", "2")
    assert result.exit_code == 0, result.output
    [config] = served
    assert (config.app, imported) == (f"{cli.__package__}.main:app", [f"{cli.__package__}.main"])
    assert (config.host, config.port, config.workers) == ("0.0.0.0", port, 2)


def test_the_module_can_be_run() -> None:
    arguments = [sys.executable, "-m", cli.__name__, "--help"]
    result = subprocess.run(arguments, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert "serve" in result.stdout
