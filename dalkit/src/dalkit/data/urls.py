"""Translate the database URLs that people paste (libpq, psycopg, Heroku) for asyncpg."""

import math
import re
import ssl
from urllib.parse import urlencode

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

MAX_PORT = 65535
Query = dict[str, str | tuple[str, ...]]

_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")

# What asyncpg takes as an argument of connect(), and so as a query parameter of SQLAlchemy's URL.
_ARGUMENTS = {
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
# What asyncpg reads only from a `dsn`: TLS files and versions, and the server's startup parameters.
_DSN_ONLY = {
    "application_name",
    "options",
    "sslcert",
    "sslcrl",
    "sslkey",
    "sslnegotiation",
    "sslrootcert",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
}
# Values that ask for what asyncpg does anyway; any other value of these is refused.
_ALREADY_SO = {
    "channel_binding": {"disable", "prefer"},
    "client_encoding": {"auto", "utf8", "utf-8"},
    "gssencmode": {"disable", "prefer"},
    "load_balance_hosts": {"disable"},
    "sslcompression": {"0"},
    "sslsni": {"1"},
}
_REMEDIES = {
    "connect_timeout": "remove it and set DATABASE_CONNECT_TIMEOUT",
    "pgbouncer": "remove it and set DATABASE_PGBOUNCER=true",
    "statement_cache_size": "remove it; behind PgBouncer set DATABASE_PGBOUNCER=true",
    "prepared_statement_name_func": "remove it; behind PgBouncer set DATABASE_PGBOUNCER=true",
    "sslpassword": "remove it and use a key file without a password",
}
_DRIVERS = {"", "+asyncpg", "+psycopg", "+psycopg2", "+psycopg_async"}
_HOST_AND_PORT = re.compile(r"(?P<host>[^:/]*):(?P<port>[0-9]{1,9})")
_SEVERAL_HOSTS = re.compile(r"(?P<head>[\w+]+://(?:[^/?@]*@)?)(?P<hosts>[^/?@]+,[^/?@]+)")


class DatabaseUrlError(ValueError):
    """The URL cannot be used; the message says why and never contains the password."""


def async_url(url: str | URL) -> URL:
    """Return `url` for `postgresql+asyncpg`, with libpq's parameters in the form asyncpg takes.

    Applied to its own result it changes nothing. Raises DatabaseUrlError for another database, a
    malformed URL, or a parameter that asyncpg has no counterpart for.
    """
    parsed = url if isinstance(url, URL) else _parse(url.strip())
    dialect = re.match(r"postgres(?:ql)?", parsed.drivername)
    if dialect is None or parsed.drivername[dialect.end() :] not in _DRIVERS:
        raise DatabaseUrlError(
            f"The database URL starts with {parsed.drivername}://, but this service needs "
            "PostgreSQL: use postgresql://user:password@host:5432/database."
        )
    query = dict(parsed.query)
    # libpq's credentials move to where they are masked.
    user, password, name = (
        _last(query.pop(key, "")) or None for key in ("user", "password", "dbname")
    )
    translated = parsed.set(
        drivername="postgresql+asyncpg",
        username=parsed.username or user,
        password=parsed.password or password,
        database=parsed.database or name,
        query=_translated(query),
    )
    _check_hosts(translated)
    return translated


def _parse(text: str) -> URL:
    """Return the parsed URL, with libpq's `host1:1,host2:2` as repeated `host` parameters."""
    several = _SEVERAL_HOSTS.match(text)
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


def _check_hosts(url: URL) -> None:
    """Raise DatabaseUrlError for what no socket takes, and asyncpg only finds out later."""
    several = url.query.get("host", ())
    matches = map(_HOST_AND_PORT.fullmatch, [several] if isinstance(several, str) else several)
    found = [(match["host"], int(match["port"])) for match in matches if match]
    for host, port in [(url.host or "", url.port or 0), *found]:
        if port > MAX_PORT:
            raise DatabaseUrlError(f"The database URL's port {port} is over {MAX_PORT}.")
        try:
            host.encode("idna")
        except UnicodeError:
            raise DatabaseUrlError(f"The database URL's host {host[:100]!r} is none.") from None


def _last(value: str | tuple[str, ...]) -> str:
    """The value that counts when a parameter is repeated, as in libpq."""
    return value if isinstance(value, str) else value[-1]


def _translated(query: Query) -> Query:
    """Return the parameters for asyncpg; raises DatabaseUrlError for what it cannot honour."""
    arguments: Query = {}
    dsn: dict[str, str] = {}
    for name, values in query.items():
        value = _last(values)
        if name in _ARGUMENTS:
            arguments[name] = values
        elif name == "sslmode":
            arguments["ssl"] = value
        elif name in _DSN_ONLY:
            dsn[name] = _system_roots() if (name, value) == ("sslrootcert", "system") else value
        elif value.lower() not in _ALREADY_SO.get(name, ()):
            remedy = _REMEDIES.get(name, "remove it")
            raise DatabaseUrlError(
                f"The database URL's parameter {name!r} has no counterpart in asyncpg: {remedy}."
            )
    if not _is_number(_last(arguments.get("command_timeout", "1"))):
        raise DatabaseUrlError("The database URL's command_timeout is no number of seconds.")
    if arguments.get("ssl", "disable") not in _SSL_MODES:
        raise DatabaseUrlError(f"The database URL's sslmode is none of {', '.join(_SSL_MODES)}.")
    if dsn:
        # asyncpg merges a dsn with its other arguments, which win. Only a dsn carries these names
        # as text, and asyncpg then builds the TLS context by libpq's rules.
        arguments["dsn"] = f"postgresql://?{urlencode(dsn)}"
    return arguments


def _is_number(text: str) -> bool:
    try:
        return 0 < float(text) < math.inf
    except ValueError:
        return False


def _system_roots() -> str:
    """Return the system's certificate bundle, which libpq calls `system`."""
    bundle = ssl.get_default_verify_paths().cafile
    if bundle is None:
        raise DatabaseUrlError(
            "The database URL says sslrootcert=system, but this system has no certificate bundle: "
            "install ca-certificates, or give the path of a file."
        )
    return bundle
