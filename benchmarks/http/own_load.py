"""A load generator in asyncio: too slow to measure a fast server, enough to try the harness."""

import asyncio
import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from .work import Request


@dataclass
class Seen:
    """Latencies in seconds, and how many answers and connections failed."""

    latencies: list[float] = field(default_factory=list)
    seconds: float = 0.0
    statuses: int = 0
    sockets: int = 0


def own_load(
    port: int,
    work: Sequence[Request],
    headers: Mapping[str, str],
    connections: int,
    seconds: float,
) -> Seen:
    """Send the requests in turn over `connections` connections, for `seconds`."""
    messages = itertools.cycle([message(request, headers) for request in work])
    seen = Seen()
    started = time.perf_counter()

    async def everything() -> None:
        end = started + seconds
        clients = [_client(port, messages, end, seen) for _ in range(connections)]
        await asyncio.gather(*clients)

    asyncio.run(everything())
    seen.seconds = time.perf_counter() - started
    return seen


def message(request: Request, headers: Mapping[str, str]) -> bytes:
    """Return the request as it is sent."""
    body = request.body.encode()
    lines = [f"{request.method} {request.path} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}"] if body else []
    return "\r\n".join([*lines, "", ""]).encode() + body


async def _client(port: int, messages: Iterator[bytes], end: float, seen: Seen) -> None:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        seen.sockets += 1
        return
    try:
        while (sent := time.perf_counter()) < end:
            writer.write(next(messages))
            status = await _status(reader)
            seen.latencies.append(time.perf_counter() - sent)
            seen.statuses += status >= 300
    except (OSError, EOFError):
        seen.sockets += 1
    finally:
        writer.close()


async def _status(reader: asyncio.StreamReader) -> int:
    """Read one response to its end."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    lengths = [line for line in lines if line.lower().startswith("content-length:")]
    await reader.readexactly(int(lengths[0].partition(":")[2]))
    return int(first.split(" ")[1])
