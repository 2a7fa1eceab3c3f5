"""The command `openapi`: the document in a file is that of the code, wherever it is made."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest
from pydantic import Field
from typer.testing import CliRunner, Result

from dalkit.cli import service_cli
from dalkit.web.problems import phrase_of

from tests.paths import PROJECT
from tests.service import cli
from tests.service.settings import Settings as ServiceSettings


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, ["openapi", *arguments], prog_name="my-service")


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file, written into an empty folder."""
    monkeypatch.chdir(tmp_path)
    result = invoke()
    assert (result.exit_code, result.output) == (0, "Wrote openapi.json.\n")
    return tmp_path / "openapi.json"


@pytest.fixture
def changed(written: Path) -> Iterator[None]:
    """Three differences are made in the file."""
    document = json.loads(written.read_text("utf-8"))
    del document["paths"]["/livez"]
    document["paths"]["/v1/books"]["trace"] = {}
    document["info"]["version"] = "0.0.9"
    written.write_text(json.dumps(document), "utf-8")
    yield
    assert json.loads(written.read_text("utf-8")) == document  # it was only compared


def test_what_was_written_is_equal_in_any_form(written: Path) -> None:
    assert invoke("--check").exit_code == 0
    text = written.read_text("utf-8")
    assert text.startswith('{\n  "openapi": "3.')
    assert text.endswith("}\n")
    written.write_text(json.dumps(json.loads(text), sort_keys=True), "utf-8")
    assert invoke("--check").exit_code == 0


@pytest.mark.usefixtures("changed")
def test_the_differences_are_told() -> None:
    result = invoke("--check")
    assert (result.exit_code, result.output.splitlines()) == (
        1,
        [
            "openapi.json is not what the code says: run `my-service openapi`.",
            "  info > version differs",
            "  paths > /livez is only in the code",
            "  paths > /v1/books > trace is only in the file",
        ],
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "openapi.json is missing: run `my-service openapi` and commit it.\n"),
        ("{", "openapi.json cannot be read: Expecting property name"),
    ],
)
def test_a_file_that_is_none_is_one_line(text: str | None, message: str, written: Path) -> None:
    written.unlink() if text is None else written.write_text(text)
    result = invoke("--check")
    assert result.exit_code == 1
    assert result.output.startswith(message)
    assert result.output.count("\n") == 1


def test_a_folder_that_is_not_there_is_one_line(written: Path) -> None:
    result = invoke("--output", "nowhere/openapi.json")
    expected = "nowhere/openapi.json cannot be written: No such file or directory.\n"
    assert (result.exit_code, result.output) == (1, expected)


def test_it_is_the_same_in_every_environment(written: Path) -> None:
    (written.parent / ".env").write_text("AUTH0_DOMAIN=other.eu.auth0.com\nMAX_BODY_SIZE=no\n")
    elsewhere = {
        "ENVIRONMENT": "production",
        "AUTH0_AUDIENCE": "other",
        "AUTH0_DEV_ISSUER": "http://127.0.0.1:9000/",
        "DATABASE_URL": "postgresql://nobody@nowhere.invalid/nothing",
        "DOCS_ENABLED": "false",
        "PYTHONHASHSEED": "1",
        "PYTHONPATH": str(PROJECT),
    }
    command = [sys.executable, "-m", cli.__name__, "openapi", "--output", "other.json"]
    subprocess.run(command, cwd=written.parent, env=os.environ | elsewhere, check=True)
    assert (written.parent / "other.json").read_bytes() == written.read_bytes()


def test_a_default_that_is_made_is_not_asked_for(
    monkeypatch: pytest.MonkeyPatch, written: Path
) -> None:
    class Mine(ServiceSettings):
        __module__ = ServiceSettings.__module__
        shelf: int = Field(default_factory=lambda made: made["max_body_size"])

    monkeypatch.setenv("SHELF", "none")
    result = CliRunner().invoke(service_cli(Mine), ["openapi", "--check"])
    assert (result.exit_code, result.output) == (0, "")


def test_a_setting_without_a_default_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, written: Path
) -> None:
    class Mine(ServiceSettings):
        __module__ = ServiceSettings.__module__
        shelf: str

    app = service_cli(Mine)
    result = CliRunner().invoke(app, ["openapi", "--check"])
    assert (result.exit_code, "SHELF: Field required" in result.output) == (1, True)
    monkeypatch.setenv("SHELF", "upper")
    assert CliRunner().invoke(app, ["openapi", "--check"]).exit_code == 0


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (413, "Content Too Large"),
        (422, "Unprocessable Content"),
        (404, "Not Found"),
        (299, "Error"),
    ],
)
def test_a_status_has_the_name_of_rfc_9110_on_every_python(status: int, name: str) -> None:
    assert phrase_of(status) == name
    renamed = {it for it in HTTPStatus if phrase_of(it) != it.phrase}
    assert renamed <= {413, 414, 416, 422}
