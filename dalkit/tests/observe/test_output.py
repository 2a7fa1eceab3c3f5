"""A log that cannot be written stops nobody."""

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import httpx
import pytest
import structlog

from dalkit.observe import output
from dalkit.observe.logs import configure_logging
from dalkit.observe.output import Output

from tests.observe.test_logs import restored
from tests.server_process import ready, serving

__all__ = ["restored"]  # a fixture of this file too

TROUBLE = "The log cannot be written: "


class Pipe:
    """A pipe that nobody reads but the test."""

    def __init__(self) -> None:
        self.reading, writing = os.pipe()
        self.stream: TextIO = os.fdopen(writing, "w")

    def read(self, until: bytes, *, whole: bool = True) -> bytes:
        """Return what comes up to the end of a line, or any end, after this has come."""
        found = b""
        while until not in found or (whole and not found.endswith(b"\n")):
            assert select.select([self.reading], [], [], 30)[0], found[-200:]
            found += os.read(self.reading, 65_536)
        return found


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    it = Pipe()
    yield it
    os.close(it.reading)
    it.stream.close()


async def test_a_service_whose_log_nobody_reads_answers_and_ends() -> None:
    """Its pipe is full after about 500 lines; what it wrote until then is whole lines."""
    with serving() as server:
        await ready(server)
        async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=20) as client:
            for _ in range(700):
                assert (await client.get("/slow/0")).status_code == 200
        server.signal(signal.SIGTERM)
        await asyncio.to_thread(server.process.wait, 30)
        written = await server.output()
    *whole, _ = written.splitlines()
    assert 100 < len([line for line in whole if json.loads(line)["event"] == "request"]) < 700


def test_nothing_is_lost_to_a_reader_that_is_late(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In order and whole, long lines and short ones: writing waits for room, as ever."""
    monkeypatch.setattr(output, "PATIENCE", 60)
    it = Output(pipe.stream, str)
    sent = [f"{n:05}".ljust(n * 37 % 9000, "x") + "\n" for n in range(1000)]

    def write() -> None:
        for line in sent:
            it.write(line)

    writing = threading.Thread(target=write)
    writing.start()
    found = pipe.read(until=b"00999")
    writing.join()
    assert found.decode() == "".join(sent)


@pytest.mark.usefixtures("restored")
def test_lines_that_are_lost_are_counted(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Before the next line that can be written; on stderr it is one sentence."""
    monkeypatch.setattr(output, "PATIENCE", 0.01)
    configure_logging(stream=pipe.stream)
    for number in range(1000):
        structlog.get_logger().info("line", number=number)
    assert capfd.readouterr().err == f"{TROUBLE}nobody reads it\n"
    found = pipe.read(until=b'"line"')
    structlog.get_logger().info("end")
    found += pipe.read(until=b'"end"')
    *lines, report, _ = [json.loads(line) for line in found.splitlines()]
    assert [line["number"] for line in lines] == list(range(len(lines)))
    lost = 1000 - len(lines)
    assert report["event"] == f"{lost} lines of the log are lost: nobody took them in time"
    assert report["level"] == "warning"


def test_a_line_that_was_begun_is_ended_first(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "PATIENCE", 0)
    it = Output(pipe.stream, "{} lost\n".format)
    sent = [f"{n:02}".ljust(9000, "x") + "\n" for n in range(20)]
    for line in sent:
        it.write(line)
    found = pipe.read(until=b"01x", whole=False)
    assert not found.endswith(b"\n")
    it.write("end\n")
    found += pipe.read(until=b"end")
    lines = found.decode().splitlines(keepends=True)
    begun = len(lines) - 2
    assert lines == [*sent[:begun], f"{20 - begun} lost\n", "end\n"]


def test_what_cannot_be_written_is_waited_for_once(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    has_room = output._has_room

    def ask(descriptor: int, seconds: float) -> bool:
        if seconds:
            waits.append(seconds)
            return has_room(descriptor, 0)
        return has_room(descriptor, 0)

    monkeypatch.setattr(output, "_has_room", ask)
    it = Output(pipe.stream, "{} lost\n".format)
    for number in range(1000):
        it.write(f"{number} {'x' * 200}\n")
    assert waits == [output.PATIENCE]


def test_a_slow_reader_is_waited_for_a_moment_in_each_period(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that always has room in the end, but only when most of the patience is spent."""
    now = 0.0
    waits: list[float] = []

    def ask(_: int, seconds: float) -> bool:
        nonlocal now
        if seconds:
            waits.append(seconds)
            now += output.PATIENCE * 0.75
        return bool(seconds)

    monkeypatch.setattr(output, "monotonic", lambda: now)
    monkeypatch.setattr(output, "_has_room", ask)
    it = Output(pipe.stream, lambda lost: "")
    for _ in range(20):
        it.write("x\n")
    assert waits == [1.0, 0.25]
    now += output.PERIOD
    it.write("x\n")
    assert waits == [1.0, 0.25, 1.0]


def test_what_was_lost_is_told_at_the_end(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(output, "PATIENCE", 0)
    it = Output(pipe.stream, "{} lost\n".format)
    for number in range(1000):
        it.write(f"{number} {'x' * 200}\n")
    lost = it._lost
    it.finish()
    it.finish()
    assert lost > 500
    assert capfd.readouterr().err == f"{TROUBLE}nobody reads it\n{TROUBLE}{lost} lines are lost\n"


@pytest.mark.parametrize("trouble", ["no reader", "no room"])
def test_trouble_is_one_sentence_and_passes(
    trouble: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The disk is full, or who reads is gone; later lines come when it is over."""
    path = tmp_path / "log"
    with _stream_with(trouble) as stream, path.open("w") as file:
        it = Output(stream, "{} lost\n".format)
        for number in range(100):
            it.write(f"{number}\n")
        said = capfd.readouterr().err
        os.dup2(file.fileno(), stream.fileno())
        it.write("100\n")
        it.finish()
    assert said.startswith(TROUBLE)
    assert said.count("\n") == 1
    assert path.read_text() == "100 lost\n100\n"


def _stream_with(trouble: str) -> TextIO:
    if trouble == "no room":
        if not Path("/dev/full").exists():
            pytest.skip("Only Linux has /dev/full.")
        return open("/dev/full", "w")  # noqa: PTH123
    reading, writing = os.pipe()
    os.close(reading)
    return os.fdopen(writing, "w")


@pytest.mark.usefixtures("restored")
def test_what_is_printed_is_not_held_back(pipe: Pipe) -> None:
    configure_logging(stream=pipe.stream)
    print("printed", file=pipe.stream)
    assert pipe.read(until=b"printed") == b"printed\n"


@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-"])
def test_a_process_without_stdout_logs_to_stderr(closed: str) -> None:
    """Or to nobody; it starts in any case."""
    code = "from dalkit.observe import configure_logging as c; c(); import logging; "
    code += "logging.error('said')"
    command = ["sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, code]
    ended = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == 0
    assert ("said" in ended.stderr) is (closed == ">&-")
