"""Translate libpq's connection parameters to asyncpg's."""

import ssl
from urllib.parse import urlencode

Query = dict[str, str | tuple[str, ...]]

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
# What asyncpg reads only from a `dsn`: TLS files and versions, and the server's startup parameters.
DSN_ONLY = {
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
    "sslpassword": "remove it and use a key file without a password",
}


class DatabaseUrlError(ValueError):
    """The URL cannot be used; the message says why and never contains the password."""


def last(value: str | tuple[str, ...] | None) -> str | None:
    """Return the value that counts when a parameter is repeated: the last one, as in libpq."""
    return value[-1] if isinstance(value, tuple) else value


def translate(query: Query) -> Query:
    """Return the parameters for asyncpg; raises DatabaseUrlError for what it cannot honour."""
    arguments: Query = {}
    dsn: dict[str, str] = {}
    for name, values in query.items():
        value = last(values) or ""
        if name in ARGUMENTS:
            arguments[name] = values
        elif name == "sslmode":
            arguments["ssl"] = value
        elif name in DSN_ONLY:
            dsn[name] = _system_roots() if (name, value) == ("sslrootcert", "system") else value
        elif value.lower() not in ALREADY_SO.get(name, ()):
            remedy = REMEDIES.get(name, "remove it")
            raise DatabaseUrlError(
                f"The database URL's parameter {name!r} has no counterpart in asyncpg: {remedy}."
            )
    if arguments.get("ssl", "disable") not in SSL_MODES:
        raise DatabaseUrlError(f"The database URL's sslmode is none of {', '.join(SSL_MODES)}.")
    if dsn:
        # asyncpg merges a dsn with its other arguments, which win. Only a dsn carries these names
        # as text, and asyncpg then builds the TLS context by libpq's rules.
        arguments["dsn"] = f"postgresql://?{urlencode(dsn)}"
    return arguments


def _system_roots() -> str:
    """Return the system's certificate bundle, which libpq calls `system`."""
    bundle = ssl.get_default_verify_paths().cafile
    if bundle is None:
        raise DatabaseUrlError(
            "The database URL says sslrootcert=system, but this system has no certificate bundle: "
            "install ca-certificates, or give the path of a file."
        )
    return bundle
