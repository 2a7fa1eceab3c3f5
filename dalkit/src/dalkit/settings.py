"""The environment variables of the platform, typed; also read from `.env`."""

import json
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from .data.urls import MAX_PORT, async_url

__all__ = ["BadSetting", "CommaSeparated", "Settings", "load"]

Environment = Literal["local", "testing", "staging", "production"]
PLACEHOLDERS = {"", "change-me", "changeme", "example", "password", "postgres", "secret"}
ENCRYPTED = {"require", "verify-ca", "verify-full"}
PUBLIC = {"staging", "production"}  # environments that others can reach

LABELS = r"[a-z0-9_-]+(\.[a-z0-9_-]+)*"
IPV6 = r"\[[0-9a-f:.]+\]"
ORIGIN = re.compile(rf"\*|[a-z][a-z0-9+.-]*://({LABELS}|{IPV6})(:(?P<port>[1-9][0-9]{{0,4}}))?")
REDUNDANT_PORT = re.compile(r"http:.*:80|https:.*:443")
HOST = re.compile(rf"\*|(\*\.)?{LABELS}|{IPV6}", re.IGNORECASE | re.ASCII)
DOMAIN = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+(:[0-9]+)?")
DEV_ISSUER = re.compile(r"https?://[^/?#\s@]+(/[^?#\s]+)?/")
SLACK = "https://hooks.slack.com/"
WEBHOOK = re.compile(r"https?://[!-~]+")
MAX_IDENTIFIER = 63  # bytes, of a name in PostgreSQL
LONGEST = 86_400  # seconds; PostgreSQL's limits end at 24 days


class BadSetting(SystemExit):
    """Ends the start of the process with a sentence for each bad variable, and status 1."""

    def __init__(self, *sentences: str) -> None:
        super().__init__("\n  ".join(["The configuration cannot be used.", *sentences]))


def _parts(value: Any) -> Any:
    """`a,b` and `["a", "b"]` are the same list; a value that is no text is left as it is."""
    if not isinstance(value, str):
        return value
    if not value.lstrip().startswith("["):
        parts = [part.strip() for part in value.split(",") if part.strip()]
        if value and not parts:
            raise ValueError("Only commas: write a,b or unset it.")
        return parts
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError("Write a,b or a JSON list.") from None


CommaSeparated = Annotated[list[str], NoDecode, BeforeValidator(_parts)]
"""A list of texts, written `a,b` or as a JSON list; also for a service's own settings."""


def _each(is_right: Callable[[str], object], otherwise: str) -> AfterValidator:
    def check(values: list[str]) -> list[str]:
        for value in values:
            if not is_right(value):
                raise ValueError(f"{_shown(value)} {otherwise}")
        return values

    return AfterValidator(check)


_SCHEMA = _each(
    lambda name: (
        name.isprintable() and '"' not in name and 0 < len(name.encode()) <= MAX_IDENTIFIER
    ),
    "is no schema's name: write 1 to 63 bytes without quotes.",
)
_ORIGIN = _each(
    lambda origin: (
        (match := ORIGIN.fullmatch(origin))
        and int(match["port"] or 0) <= MAX_PORT
        and not REDUNDANT_PORT.fullmatch(origin)
    ),
    "is not an origin as a browser sends it: write scheme://host or scheme://host:port in lower "
    "case, without the scheme's own port, a path or a slash at the end (or * for every origin).",
)
_HOST = _each(
    HOST.fullmatch,
    "matches no host: write a name without scheme and port, such as example.com, or *.example.com "
    "for its subdomains, or * for any.",
)


class Settings(BaseSettings):
    """The configuration of one process. Times are in seconds, sizes in bytes; empty means unset.

    Each value is checked on its own, so that all that are wrong are told at once. A check that
    depends on another value (`info.data`) finds those that stand above it and are right.
    """

    model_config = SettingsConfigDict(
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        hide_input_in_errors=True,
        allow_inf_nan=False,
        str_strip_whitespace=True,  # a secret from a file often ends with the file's line
        use_attribute_docstrings=True,  # docs/settings.md is made of them
    )

    environment: Environment = "local"
    """Where the process runs. `staging` and `production` refuse weak settings and do not start."""

    database_url: SecretStr | None = None
    """`postgresql://user:password@host:5432/database?sslmode=verify-full`. Unset, the service
    starts, and what needs the database is answered 503.
    """
    database_read_url: SecretStr | None = None
    """A replica for transactions that only read; unset, they run on the primary, and also while the
    replica cannot be used.
    """
    database_schemas: Annotated[CommaSeparated, _SCHEMA] = []
    """The schemas to reflect; empty means the default schema of the connection."""
    database_pool_size: int = Field(10, ge=1, le=1000)
    """Connections that this process keeps, and holds at most."""
    database_pool_timeout: float = Field(3.0, gt=0, le=5)
    """How long a request waits for a connection of the pool before it is answered 503. A tenth of
    it while the pool is overloaded: when the queue has not been empty for that long.
    """
    database_connect_timeout: float = Field(5.0, gt=0, le=LONGEST)
    """How long it may take to connect to the server."""
    database_statement_timeout: float = Field(30.0, ge=0, le=LONGEST)
    """How long a statement may run; 0 is no limit."""
    database_lock_timeout: float = Field(5.0, ge=0, le=LONGEST)
    """How long a statement waits for a lock; 0 is no limit."""
    database_idle_in_transaction_timeout: float = Field(60.0, ge=0, le=LONGEST)
    """After how long PostgreSQL ends a transaction that sends nothing; 0 is never."""
    database_pgbouncer: bool = False
    """Set it behind a PgBouncer older than 1.21 in transaction mode: no prepared statements."""
    database_fast_path: bool = True
    """Run statements on asyncpg itself. Switched off, each goes through SQLAlchemy: slower,
    with the same results.
    """
    compiled_routes: bool = True
    """Serve plain routes by a plan that is made once. Switched off, FastAPI looks at their
    parameters and dependencies for each request: slower, with the same answers.
    """

    auth0_domain: str = ""
    """The tenant, for example `example.eu.auth0.com`."""
    auth0_client_id: str = ""
    """The application behind *Authorize* on the docs page."""
    auth0_audience: str = ""
    """The identifier of this API in the tenant."""
    auth0_org_id: str | None = None
    """Accept only tokens of this organization."""
    auth0_dev_issuer: str | None = None
    """An issuer for development, for example `http://127.0.0.1:9000/`; it takes the tenant's
    place. Refused in staging and production.
    """

    slack_webhook_url: SecretStr | None = None
    """Where alerts go; unset, nothing is sent."""
    slack_environments: Annotated[list[Environment], NoDecode, BeforeValidator(_parts)] = [
        "staging",
        "production",
    ]
    """The environments that alert."""
    slack_exception_text: bool = False
    """Whether an alert quotes 500 characters of the exception's text, without what looks like
    a secret.
    """

    max_body_size: int = Field(1_048_576, ge=0)
    """The largest body of a request; a larger one is answered 413."""
    cors_origins: Annotated[CommaSeparated, _ORIGIN] = []
    """Origins whose pages may call the service, for example `https://app.example.com`; empty
    means no other origin.
    """
    trusted_hosts: Annotated[CommaSeparated, _HOST] = []
    """Host names that the service answers to; empty means any."""
    docs_enabled: bool | None = None  # a bool once it is validated: not in staging and production
    """Whether `/docs` and `/openapi.json` are served. Unset: yes, but not in staging and
    production.
    """
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    """The least severe level that is logged; `WARNING` leaves out the access log."""
    log_format: Literal["auto", "json", "console"] = "auto"
    """`auto` is `console` on a terminal and `json` elsewhere."""
    shutdown_delay: float = Field(0.0, ge=0, le=LONGEST)
    """How long to go on serving after SIGTERM, while `/readyz` answers 503, until load
    balancers have noticed.
    """

    @field_validator("*", mode="before")
    @classmethod
    def _check_blank(cls, value: Any) -> Any:
        """Blanks would be taken for nothing, and switch off what was meant to be on."""
        if isinstance(value, str) and value.isspace():
            raise ValueError("Only blanks: give it a value, or unset it.")
        return value

    @field_validator("database_url", "database_read_url")
    @classmethod
    def _check_database_url(cls, url: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        name, here = str(info.field_name).upper(), info.data.get("environment")
        if url is None and (name == "DATABASE_READ_URL" or not _is_public(info)):
            return url
        parsed = async_url(url.get_secret_value() if url else "postgresql://")
        if _is_public(info) and (parsed.password or "").lower() in PLACEHOLDERS:
            raise ValueError(f"{name} has no password of its own; {here} needs a real one.")
        if _is_public(info) and parsed.query.get("ssl") not in ENCRYPTED:
            raise ValueError(f"{name} is not encrypted; {here} needs ?sslmode=verify-full.")
        return url

    @field_validator("auth0_domain", "auth0_audience", "auth0_dev_issuer")
    @classmethod
    def _check_auth0(cls, value: str | None, info: ValidationInfo) -> str | None:
        name, here = str(info.field_name).upper(), info.data.get("environment")
        if name == "AUTH0_DEV_ISSUER" and value and _is_public(info):
            raise ValueError(f"{name} is set in {here}: unset it, or anyone may log in.")
        given: dict[str, Any] = {"domain": "", "dev_issuer": None, "audience": "", "client_id": ""}
        given["client_id"] = info.data.get("auth0_client_id", "")
        given[name.removeprefix("AUTH0_").lower()] = value
        for mistake in auth0_mistakes(**given):
            if mistake.startswith(name) and "is blank" not in mistake:  # it may have no Auth0
                raise ValueError(mistake)
        return value

    @field_validator("slack_webhook_url")
    @classmethod
    def _check_webhook(cls, url: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        text = SLACK if url is None else url.get_secret_value()
        if _is_public(info) and not text.startswith(SLACK):
            raise ValueError(f"SLACK_WEBHOOK_URL is not on {SLACK}.")
        if not WEBHOOK.fullmatch(text):
            raise ValueError(f"SLACK_WEBHOOK_URL is no URL: it begins with {SLACK}.")
        return url

    @field_validator("docs_enabled")
    @classmethod
    def _decide_docs(cls, enabled: bool | None, info: ValidationInfo) -> bool:
        return not _is_public(info) if enabled is None else enabled


S = TypeVar("S", bound=Settings)


def load(settings: type[S], **values: Any) -> S:
    """Return the settings of this process; raises BadSetting, a line for each bad variable.

    `values` take the place of what the environment and `.env` say.
    """
    try:
        return settings(**values)
    except ValidationError as error:
        problems = error.errors(include_input=False)
        raise BadSetting(*dict.fromkeys(map(_describe, problems))) from None
    except SettingsError as error:  # a list of the service's own that is no JSON
        raise BadSetting(f"{error}.") from None


def auth0_mistakes(domain: str, dev_issuer: str | None, audience: str, client_id: str) -> list[str]:
    """Return a sentence for each reason for which no token can be verified with these."""
    is_so = {
        "AUTH0_DOMAIN is blank: set it to your tenant's domain, for example my-team.eu.auth0.com "
        "(or set AUTH0_DEV_ISSUER to develop without an account).": (
            not dev_issuer and not domain.strip()
        ),
        f"AUTH0_DOMAIN is {_shown(domain)}: write the host name only, for example "
        "my-team.eu.auth0.com.": domain.strip() and not DOMAIN.fullmatch(domain),
        f"AUTH0_DEV_ISSUER is {_shown(dev_issuer or '')}: write an http URL ending in '/', "
        "for example http://127.0.0.1:9000/.": dev_issuer and not DEV_ISSUER.fullmatch(dev_issuer),
        "AUTH0_AUDIENCE is blank: set it to your API's identifier in Auth0, for example "
        "https://api.example.com.": not audience.strip(),
        "AUTH0_AUDIENCE is the same as AUTH0_CLIENT_ID: set it to your API's identifier, or id "
        "tokens would be taken for access tokens.": audience.strip() and audience == client_id,
    }
    return [sentence for sentence, is_true in is_so.items() if is_true]


def _describe(problem: Any) -> str:
    name = str(problem["loc"][0]).upper() if problem["loc"] else ""
    message: str = problem["msg"].removeprefix("Value error, ")
    return message if message.startswith(name) else f"{name}: {message}"


def _is_public(info: ValidationInfo) -> bool:
    return info.data.get("environment") in PUBLIC


def _shown(value: str) -> str:
    """A value for a message, cut: of a URL with user and password, only what follows them."""
    _, at, rest = value.rpartition("@")
    return repr(f"***@{rest}"[:200] if at else value[:200])
