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

TROUBLE = "The log cannot be written, its lines wait or are lost: "


class Pipe:
    """A pipe that nobody reads but the test."""

    def __init__(self) -> None:
        self.reading, writing = os.pipe()
        self.stream: TextIO = os.fdopen(writing, "w")

    def read(self, until: bytes) -> bytes:
        """Return what comes up to the end of a line that has this in it."""
        found = b""
        while until not in found or not found.endswith(b"\n"):
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


def test_what_waits_is_written_when_it_is_read_again(pipe: Pipe) -> None:
    """In order and whole, with long lines between short ones, and without another line."""
    output = Output(pipe.stream, str)
    sent = [f"{n:05}".ljust(n * 37 % 9000, "x") + "\n" for n in range(100)]
    for line in sent:
        output.write(line)
    assert pipe.read(until=b"00099").decode() == "".join(sent)
    output.finish()
    output.write("at once\n")
    assert pipe.read(until=b"at once") == b"at once\n"


def test_without_a_thread_the_next_line_tries_again(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that has as many as it may, or that ends, is not given one."""

    class Never(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    output = Output(pipe.stream, str)
    monkeypatch.setattr("dalkit.observe.output.Thread", Never)
    for number in range(1000):
        output.write(f"{number} {'x' * 200}\n")
    pipe.read(until=b"0 x")
    output.finish()
    monkeypatch.undo()
    output.write("the end\n")
    assert b"\n999 x" in pipe.read(until=b"the end")


@pytest.mark.usefixtures("restored")
def test_lines_that_are_lost_are_counted(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """What waits in memory is bounded; one line tells how many went by, and one on stderr."""
    monkeypatch.setattr(output, "MOST", 10_000)
    configure_logging(stream=pipe.stream)
    for number in range(1000):
        structlog.get_logger().info("line", number=number)
    lines = [json.loads(line) for line in pipe.read(until=b"lost").splitlines()]
    report = lines.pop()
    assert [line["number"] for line in lines] == list(range(len(lines)))
    lost = 1000 - len(lines)
    assert report["event"] == f"{lost} lines of the log are lost: nobody took them in time"
    assert report["level"] == "warning"
    assert capfd.readouterr().err == f"{TROUBLE}nobody reads it\n"


@pytest.mark.parametrize("trouble", ["no reader", "no room"])
def test_trouble_is_one_sentence_and_passes(
    trouble: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The disk is full, or who reads is gone; the lines come when it is over."""
    path = tmp_path / "log"
    with _stream_with(trouble) as stream, path.open("w") as file:
        output = Output(stream, str)
        for number in range(100):
            output.write(f"{number}\n")
        said = capfd.readouterr().err
        os.dup2(file.fileno(), stream.fileno())
        output.write("100\n")
        output.finish()
    assert said.startswith(TROUBLE)
    assert said.count("\n") == 1
    assert path.read_text() == "".join(f"{number}\n" for number in range(101))


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
