"""Translate the database URLs people paste (libpq, psycopg, Heroku) to SQLAlchemy's asyncpg form."""

import re
import ssl
from urllib.parse import urlencode

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

DRIVERS = {"postgresql", "postgres"} | {
    f"{name}+{driver}"
    for name in ("postgresql", "postgres")
    for driver in ("psycopg", "psycopg2", "psycopg_async", "asyncpg")
}
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")

# What asyncpg takes as an argument of connect(), and so as a query parameter of SQLAlchemy's URL.
ARGUMENTS = {
    "command_timeout",
    "dsn",
    "gsslib",
    "host",
    "krbsrvname",
    "passfile",
    "port",
    "prepared_statement_cache_size",
    "service",
    "ssl",
    "target_session_attrs",
}
# What asyncpg reads only from a `dsn`: TLS files and versions, and startup parameters of the server.
DSN_ONLY = {
    "application_name",
    "options",
    "sslcert",
    "sslcrl",
    "sslkey",
    "sslnegotiation",
    "sslpassword",
    "sslrootcert",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
}
# libpq's parameters with the values that ask for what asyncpg does anyway; any other value is refused.
ALREADY_SO = {
    "channel_binding": {"disable", "prefer"},
    "client_encoding": {"auto", "utf8", "utf-8"},
    "gssencmode": {"disable", "prefer"},
    "load_balance_hosts": {"disable"},
    "sslcompression": {"0"},
    "sslsni": {"1"},
}
REMEDIES = {
    "connect_timeout": "remove it and set DATABASE_CONNECT_TIMEOUT",
    "pgbouncer": "remove it and set DATABASE_PGBOUNCER=true",
    "statement_cache_size": "remove it; behind PgBouncer set DATABASE_PGBOUNCER=true",
    "prepared_statement_name_func": "remove it; behind PgBouncer set DATABASE_PGBOUNCER=true",
}


class BadDatabaseUrl(ValueError):
    """The URL cannot be used; the message says why and never contains the password."""


def async_url(url: str | URL) -> URL:
    """Return `url` for `postgresql+asyncpg`, with libpq's parameters in the form asyncpg takes.

    Calling it on its own result changes nothing. Raises BadDatabaseUrl for another database, a
    malformed URL, or a parameter that asyncpg has no counterpart for.
    """
    parsed = url if isinstance(url, URL) else _parse(url)
    if parsed.drivername not in DRIVERS:
        raise BadDatabaseUrl(
            f"The database URL starts with {parsed.drivername}://, but this service needs "
            "PostgreSQL: use postgresql://user:password@host:5432/database."
        )
    translated = _hoist(parsed.set(drivername="postgresql+asyncpg"))
    return translated.set(query=_translate(dict(translated.query)))


def _parse(url: str) -> URL:
    """Return the parsed URL, with libpq's `host1:1,host2:2` as repeated `host` parameters."""
    hosts = re.match(r"(?P<head>[\w+]+://(?:[^/?@]*@)?)(?P<hosts>[^/?@]+,[^/?@]+)", url.strip())
    text = url.strip()
    if hosts:
        text = hosts["head"] + text[hosts.end() :]
    try:
        parsed = make_url(text)
    except (ArgumentError, ValueError):
        # Not chained: the messages of both quote pieces of the URL, the password among them.
        parsed = None
    if parsed is None or "@" in (parsed.host or ""):
        raise BadDatabaseUrl(
            "The database URL cannot be parsed. The form is "
            "postgresql://user:password@host:5432/database; in user and password write "
            "@ as %40, : as %3A, / as %2F and % as %25."
        )
    if hosts:
        parsed = parsed.update_query_pairs(
            ("host", host if ":" in host else f"{host}:5432") for host in hosts["hosts"].split(",")
        )
    return parsed


def _hoist(url: URL) -> URL:
    """Return `url` with user, password and dbname moved from the query to where they are masked."""
    query = dict(url.query)
    user, password, name = (query.pop(key, None) for key in ("user", "password", "dbname"))
    return url.set(
        username=url.username or _last(user),
        password=url.password or _last(password),
        database=url.database or _last(name),
        query=query,
    )


def _last(value: str | tuple[str, ...] | None) -> str | None:
    """Return the value that counts when a parameter is repeated, as libpq does."""
    return value[-1] if isinstance(value, tuple) else value


def _translate(query: dict[str, str | tuple[str, ...]]) -> dict[str, str | tuple[str, ...]]:
    """Return the query in asyncpg's terms."""
    arguments: dict[str, str | tuple[str, ...]] = {}
    dsn: dict[str, str] = {}
    for name, value in query.items():
        last = _last(value) or ""
        if name in ARGUMENTS:
            arguments[name] = value
        elif name == "sslmode":
            arguments["ssl"] = last
        elif name in DSN_ONLY:
            dsn[name] = _system_roots() if (name, last) == ("sslrootcert", "system") else last
        elif last.lower() not in ALREADY_SO.get(name, ()):
            raise BadDatabaseUrl(_refusal(name))
    if arguments.get("ssl", "disable") not in SSL_MODES:
        raise BadDatabaseUrl(f"The database URL's sslmode must be one of {', '.join(SSL_MODES)}.")
    if dsn:
        # asyncpg merges this with the arguments above, which win; it alone can carry these names
        # as text, and asyncpg builds the TLS context from it with libpq's rules.
        arguments["dsn"] = f"postgresql://?{urlencode(dsn)}"
    return arguments


def _refusal(name: str) -> str:
    """Return the sentence for a parameter that asyncpg cannot honour."""
    remedy = REMEDIES.get(name, "remove it")
    return f"The database URL's parameter {name!r} has no counterpart in asyncpg: {remedy}."


def _system_roots() -> str:
    """Return the system's certificate bundle, for libpq's `sslrootcert=system`."""
    bundle = ssl.get_default_verify_paths().cafile
    if bundle is None:
        raise BadDatabaseUrl(
            "The database URL says sslrootcert=system, but this system has no certificate bundle: "
            "install ca-certificates or give the path of a file."
        )
    return bundle
