"""Boots a service, asks it, and stops it with requests in flight.

Run in a generated project, by its Python: `python boot.py my_service my-service SERVICES`, where
the last is JSON of the services of its compose.yaml. Fails with an assertion.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from dalkit.dev.postgres import temporary_cluster
from dalkit.dev.run import create_database

IN_FLIGHT = 5


def free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def headers(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the Authorization header, when this service has an issuer of tokens."""
    if issuer := environment.get("AUTH0_DEV_ISSUER"):
        from dalkit.dev.token import fetch_token

        scopes = ["read:books", "write:books"]
        return {"authorization": f"Bearer {fetch_token(issuer, scopes)}"}
    return {}


@contextmanager
def wired(services: dict[str, Any]) -> Iterator[dict[str, str]]:
    """Yield the environment that compose gives the API, while its issuer runs if it has one.

    Each container is a process here, and the name of the issuer's is this machine.
    """
    environments = {
        name: {key: value or "" for key, value in service.get("environment", {}).items()}
        for name, service in services.items()
    }
    if "issuer" not in services:
        yield environments["api"]
        return
    aliases = services["issuer"]["networks"]["default"]["aliases"]
    for environment in environments.values():
        for name in {"AUTH0_DEV_ISSUER"} & environment.keys():
            [alias] = aliases
            environment[name] = environment[name].replace(f"//{alias}:", "//127.0.0.1:")
    program, *arguments = services["issuer"]["command"]
    command = [Path(sys.executable).with_name(program), *arguments]
    process = subprocess.Popen(command, env=os.environ | environments["issuer"])
    try:
        until_answered(f"{environments['api']['AUTH0_DEV_ISSUER']}.well-known/jwks.json")
        yield environments["api"]
    finally:
        process.kill()
        process.wait()


def until_answered(url: str) -> None:
    """Wait until somebody answers there; fails after a minute."""
    for _ in range(600):
        try:
            httpx.get(url, trust_env=False)
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(url)


@asynccontextmanager
async def served(
    command: str, environment: Mapping[str, str]
) -> AsyncIterator[tuple[subprocess.Popen[bytes], httpx.AsyncClient]]:
    """Yield the server's process, ready, and a client of it."""
    port = free_port()
    program = Path(sys.executable).with_name(command)
    server = subprocess.Popen([program, "serve", f"--port={port}"], env=dict(environment))
    url = f"http://127.0.0.1:{port}"
    try:
        async with httpx.AsyncClient(base_url=url, timeout=20, trust_env=False) as client:
            await until_ready(client)
            yield server, client
    finally:
        server.kill()
        server.wait()


async def until_ready(client: httpx.AsyncClient) -> None:
    """Wait until /readyz answers 200; fails after a minute."""
    for _ in range(600):
        try:
            response = await client.get("/readyz")
        except httpx.TransportError:
            response = None
        if response is not None and response.status_code == 200:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(response and response.text)


async def ask(client: httpx.AsyncClient, allowed: Mapping[str, str]) -> None:
    """Ask every kind of question once."""
    for path in ("/livez", "/openapi.json", "/docs"):
        assert (await client.get(path)).status_code == 200, path
    if allowed:
        assert (await client.get("/v1/books")).status_code == 401
    missing = await client.get("/v1/books/4711", headers=allowed)
    assert missing.status_code == 404
    assert missing.headers["content-type"] == "application/problem+json"
    created = await client.post("/v1/authors", json={"name": "first"}, headers=allowed)
    assert created.status_code == 201, created.text
    page = (await client.get("/v1/authors", headers=allowed)).json()
    assert [author["name"] for author in page["results"]] == ["first"]


async def stop_in_flight(
    server: subprocess.Popen[bytes],
    client: httpx.AsyncClient,
    allowed: Mapping[str, str],
    database_url: str,
) -> None:
    """Send SIGTERM while writes wait for a lock: each of them is answered, and is there."""
    connection = await asyncpg.connect(database_url)
    async with connection.transaction():
        await connection.execute("LOCK TABLE author IN ACCESS EXCLUSIVE MODE")
        writes = [
            asyncio.create_task(
                client.post("/v1/authors", json={"name": f"name {i}"}, headers=allowed)
            )
            for i in range(IN_FLIGHT)
        ]
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        async with asyncio.timeout(60):
            while await connection.fetchval(waiting) < IN_FLIGHT:
                await asyncio.sleep(0.05)
        server.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.5)
    answers = await asyncio.gather(*writes)
    assert [answer.status_code for answer in answers] == [201] * IN_FLIGHT
    status = await asyncio.to_thread(server.wait, 15)
    assert status in (0, -signal.SIGTERM), status
    assert await connection.fetchval("SELECT count(*) FROM author") == IN_FLIGHT + 1
    await connection.close()


async def main(package: str, command: str, services: str) -> None:
    """Boot `package` on a Postgres of its own."""
    with ExitStack() as stack:
        cluster = stack.enter_context(temporary_cluster())
        await asyncio.to_thread(create_database, cluster.url("postgres"), package)
        environment = os.environ | {"DATABASE_URL": cluster.url(package)}
        environment |= stack.enter_context(wired(json.loads(services)))
        sync = [sys.executable, "-m", f"{package}.cli", "db", "sync"]
        subprocess.run(sync, env=environment, check=True)
        async with served(command, environment) as (server, client):
            allowed = headers(environment)
            await ask(client, allowed)
            await stop_in_flight(server, client, allowed, environment["DATABASE_URL"])


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
