"""How connections are accepted: on a real socket, in turns of the server's loop."""

import asyncio
import socket
import threading
from contextlib import ExitStack

import pytest
import uvicorn
from fastapi import FastAPI

from dalkit.protocol import LimitedProtocol
from dalkit.server import ACCEPTED_AT_ONCE, Server


@pytest.mark.parametrize(
    ("server_class", "turns"),
    [
        pytest.param(Server, 1, id="ours"),
        # Once this is no longer so, uvicorn's own server is enough.
        pytest.param(uvicorn.Server, ACCEPTED_AT_ONCE, id="uvicorn"),
    ],
)
def test_a_burst_of_connections_is_accepted_in_one_turn(
    server_class: type[uvicorn.Server], turns: int
) -> None:
    accepted: list[int] = []
    turn = 0
    is_busy, may_go_on, has_accepted = threading.Event(), threading.Event(), threading.Event()
    app = FastAPI()

    @app.get("/")
    async def be_busy() -> None:
        is_busy.set()
        may_go_on.wait(20)  # holds the loop
        count_turns()

    def count_turns() -> None:
        nonlocal turn
        turn += 1
        if not has_accepted.is_set():
            asyncio.get_running_loop().call_soon(count_turns)

    class Watched(LimitedProtocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            accepted.append(turn)
            if len(accepted) == 1 + ACCEPTED_AT_ONCE:
                has_accepted.set()

    config = uvicorn.Config(app, http=Watched, loop="uvloop", log_config=None)
    with ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        server = server_class(config)
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        stack.callback(thread.join, 20)
        stack.callback(setattr, server, "should_exit", True)

        def connect() -> socket.socket:
            return stack.enter_context(socket.create_connection(listening.getsockname()))

        connect().sendall(b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        assert is_busy.wait(20)
        for _ in range(ACCEPTED_AT_ONCE):
            connect()
        may_go_on.set()
        assert has_accepted.wait(20)

    assert len(set(accepted[1:])) == turns


async def test_all_of_its_sockets_are_closed_at_its_end() -> None:
    server = Server(uvicorn.Config(FastAPI(), port=0, log_config=None))
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(20):
        while not server.started or len(server.servers) < ACCEPTED_AT_ONCE:
            await asyncio.sleep(0.01)
    address = server.servers[0].sockets[0].getsockname()

    server.should_exit = True
    await serving

    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*address)
