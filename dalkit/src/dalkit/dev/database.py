"""The database inside the server that `make run` starts."""

import asyncio

import asyncpg


def create_database(server_url: str, name: str) -> None:
    """Create the database `name` unless it exists."""
    asyncio.run(_create_database(server_url, name))


async def _create_database(server_url: str, name: str) -> None:
    connection = await asyncpg.connect(server_url)
    try:
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
            await connection.execute(f'CREATE DATABASE "{name}"')
    finally:
        await connection.close()


def run_script(url: str, sql: str) -> None:
    """Run the statements of a file, in one transaction."""
    asyncio.run(_run_script(url, sql))


async def _run_script(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()
