"""`bulk load` and `bulk export`."""

import asyncio
import os
import pty
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.service import cli

Run = Callable[..., Awaitable[Result]]


@pytest.fixture
async def run(fresh_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command of the group, away from the developer's .env."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", fresh_database)

    async def command(*arguments: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, cli.app, ["bulk", *arguments])

    return command


async def test_a_file_is_loaded_changed_and_exported(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "authors.csv"
    file.write_text('name\n"Le Guin"\nLem\n')
    loaded = await run("load", "author", str(file))
    assert loaded.stdout == "author: 2 copied, 2 inserted, 0 updated, 0 skipped.\n"
    assert loaded.stderr == ""

    again = await run("load", "author", str(file))
    assert (again.exit_code, again.stdout) == (1, "")
    assert again.stderr == "A record with this value exists already.\n"

    file.write_text("name\nLem\nStrugatsky\n")
    skipped = await run("load", "author", str(file), "--update", "uq_author_name")
    assert "1 inserted, 0 updated, 1 skipped" in skipped.stdout

    exported = await run("export", "author", "-")
    assert [line.split(",")[1] for line in exported.stdout.splitlines()] == [
        "name",
        "Le Guin",
        "Lem",
        "Strugatsky",
    ]
    lines = tmp_path / "authors.jsonl"
    assert (await run("export", "author", str(lines))).stderr == "author: 3 exported.\n"
    assert lines.read_text().count("\n") == 3


@pytest.mark.parametrize(
    ("table", "name", "content", "message"),
    [
        ("author", "a.csv", "name\n\n", "row 2, column 'name': a value is required"),
        ("author", "a.jsonl", '{"name": 1}\n{"nam": 2}', "row 2, column 'nam': the columns are"),
        ("author", "a.csv", "id,name\n1,a\n", "author.id is always generated"),
        ("auther", "a.csv", "name\na\n", "Did you mean 'author'?"),
        ("author", "a.csv", "", "the file is empty"),
        ("author", "a.txt", "name\na\n", "'.txt' is no known format"),
    ],
)
async def test_a_failure_is_one_line(
    run: Run, tmp_path: Path, table: str, name: str, content: str, message: str
) -> None:
    file = tmp_path / name
    file.write_text(content)
    result = await run("load", table, str(file))
    assert result.exit_code in (1, 2)
    assert message in result.stderr
    assert "Traceback" not in result.stderr


async def test_a_terminal_shows_a_progress_bar(fresh_database: str, tmp_path: Path) -> None:
    file = tmp_path / "authors.csv"
    file.write_text("name\na\n")
    terminal, end = pty.openpty()
    command = [sys.executable, "-m", "tests.service.cli", "bulk", "load"]
    environment = {**os.environ, "DATABASE_URL": fresh_database, "TERM": "xterm"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    await asyncio.to_thread(
        subprocess.run,
        [*command, "author", str(file)],
        env=environment,
        cwd=tmp_path,
        stderr=end,
        stdout=subprocess.DEVNULL,
        timeout=60,
        check=True,
    )
    os.close(end)
    assert b"7/7 bytes" in os.read(terminal, 65536)
    os.close(terminal)
