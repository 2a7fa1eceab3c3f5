"""Translate the database URLs that people paste (libpq, psycopg, Heroku) for asyncpg."""

import re

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from .libpq import DatabaseUrlError, last, translate

__all__ = ["DatabaseUrlError", "async_url"]

DRIVERS = {"", "+asyncpg", "+psycopg", "+psycopg2", "+psycopg_async"}
SEVERAL_HOSTS = re.compile(r"(?P<head>[\w+]+://(?:[^/?@]*@)?)(?P<hosts>[^/?@]+,[^/?@]+)")


def async_url(url: str | URL) -> URL:
    """Return `url` for `postgresql+asyncpg`, with libpq's parameters in the form asyncpg takes.

    Applied to its own result it changes nothing. Raises DatabaseUrlError for another database, a
    malformed URL, or a parameter that asyncpg has no counterpart for.
    """
    parsed = url if isinstance(url, URL) else _parse(url.strip())
    dialect = re.match(r"postgres(?:ql)?", parsed.drivername)
    if dialect is None or parsed.drivername[dialect.end() :] not in DRIVERS:
        raise DatabaseUrlError(
            f"The database URL starts with {parsed.drivername}://, but this service needs "
            "PostgreSQL: use postgresql://user:password@host:5432/database."
        )
    moved = _without_credentials_in_query(parsed.set(drivername="postgresql+asyncpg"))
    return moved.set(query=translate(dict(moved.query)))


def _parse(text: str) -> URL:
    """Return the parsed URL, with libpq's `host1:1,host2:2` as repeated `host` parameters."""
    several = SEVERAL_HOSTS.match(text)
    if several:
        text = several["head"] + text[several.end() :]
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # Not chained: the messages of both may quote pieces of the URL, the password among them.
        url = None
    if url is None or "@" in (url.host or ""):
        raise DatabaseUrlError(
            "The database URL cannot be parsed. The form is "
            "postgresql://user:password@host:5432/database; in user and password write "
            "@ as %40, : as %3A, / as %2F and % as %25."
        )
    hosts = several["hosts"].split(",") if several else []
    return url.update_query_pairs(
        ("host", host if ":" in host else f"{host}:5432") for host in hosts
    )


def _without_credentials_in_query(url: URL) -> URL:
    """Return `url` with libpq's user, password and dbname moved to where they are masked."""
    query = dict(url.query)
    user, password, name = (last(query.pop(key, None)) for key in ("user", "password", "dbname"))
    return url.set(
        username=url.username or user,
        password=url.password or password,
        database=url.database or name,
        query=query,
    )
