"""Say in one sentence why there is no connection to the database, and what to do."""

from sqlalchemy import URL

from .sqlstate import sqlstate_of
from .urls import async_url

# PostgreSQL, appendix A: the SQLSTATEs that a connection attempt ends with.
_REMEDIES = {
    "08003": "closed the connection: is it up, and is it PostgreSQL that listens there?",
    "28P01": "refuses the password of user {user!r}: check DATABASE_URL; in it write @ as %40, "
    ": as %3A, / as %2F and % as %25.",
    "28000": "refuses user {user!r}: check DATABASE_URL and pg_hba.conf.",
    "3D000": "has no such database: create it with createdb {database}, or correct DATABASE_URL.",
    "42501": "does not let user {user!r} do this: grant it, or use the owner's DATABASE_URL.",
    "53300": "has no connection left: lower DATABASE_POOL_SIZE or raise max_connections.",
    "57P03": "is starting up or shutting down: try again in a moment.",
}


def unreachable(error: BaseException, url: str | URL) -> str | None:
    """Return the sentence, or None when the error is not about reaching the database.

    It names host, port and database, never the password.
    """
    url = async_url(url)
    if sqlstate := sqlstate_of(error):
        remedy = _REMEDIES.get(sqlstate, "")
        remedy = remedy.format(user=url.username, database=url.database)
        return f"PostgreSQL at {address(url)} {remedy}" if remedy else None
    if isinstance(error, TimeoutError):
        return f"PostgreSQL at {address(url)} did not answer in time: is the address right?"
    if isinstance(error, OSError):
        return (
            f"PostgreSQL at {address(url)} cannot be reached ({error.strerror or error}): "
            "start it, or correct DATABASE_URL."
        )
    return None


def address(url: URL) -> str:
    """Return `host:port/database`; several hosts are separated by commas."""
    hosts = url.query.get("host") or f"{url.host or 'localhost'}:{url.port or 5432}"
    return f"{hosts if isinstance(hosts, str) else ','.join(hosts)}/{url.database or url.username}"
