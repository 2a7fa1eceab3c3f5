"""Whether PostgreSQL lets the pools of all workers have their connections."""

import asyncio

import structlog
from sqlalchemy import URL

from .data.faults import address
from .data.urls import async_url
from .database import brief_connection
from .errors import DatabaseUnreachable
from .observe.logs import configure_logging
from .settings import Settings

# What is left for a role without privileges; the limits of role and database are -1 for none.
_MOST = """
SELECT pg_backend_pid() AS pid, least(
    current_setting('max_connections')::int
    - current_setting('superuser_reserved_connections')::int
    - coalesce(current_setting('reserved_connections', true)::int, 0),
    (SELECT nullif(rolconnlimit, -1) FROM pg_roles WHERE rolname = session_user),
    (SELECT nullif(datconnlimit, -1) FROM pg_database WHERE datname = current_database())
) AS most
"""


def warn(settings: Settings, workers: int) -> None:
    """Log a line for each shortage. It is no reason not to start: pools grow when they must."""
    for sentence in asyncio.run(shortages(settings, workers)):
        configure_logging(settings.log_level, settings.log_format)
        structlog.get_logger(__name__).warning(sentence)


async def shortages(settings: Settings, workers: int) -> list[str]:
    """Return a sentence for each server that has fewer connections than `workers` pools may open.

    Of a server that cannot be reached nothing is known, and /readyz says so. Neither is it behind a
    pooler: there the connections are the pooler's to limit.
    """
    urls = {
        "DATABASE_URL": settings.database_url,
        "DATABASE_READ_URL": settings.database_read_url,
    }
    size = settings.database_pool_size
    wanted = workers * size + 1  # /readyz has a connection of its own
    found = []
    for name, url in urls.items():
        if url is None:
            continue
        server = async_url(url.get_secret_value())
        most = await _most_connections(server)
        if most is not None and wanted > most:
            found.append(
                f"{name}: {workers} x DATABASE_POOL_SIZE={size} and one for /readyz are {wanted} "
                f"connections, but PostgreSQL at {address(server)} lets this role have {most}: "
                "lower DATABASE_POOL_SIZE or --workers, or put PgBouncer in between."
            )
    return found


async def _most_connections(url: URL) -> int | None:
    """Return how many connections this role can have there; None when the server does not say."""
    try:
        async with brief_connection(url, "start") as conn:
            row, told = await conn.fetchrow(_MOST), conn.get_server_pid()
    except DatabaseUnreachable:
        return None
    # A pooler has told of a process of its own, which is not the server's.
    return int(row["most"]) if row["pid"] == told else None
