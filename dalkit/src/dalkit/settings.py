"""The environment variables of the platform, typed; also read from `.env`."""

import json
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from .data.urls import async_url

CommaSeparated = Annotated[list[str], NoDecode]
Environment = Literal["local", "testing", "staging", "production"]
PLACEHOLDERS = {"", "change-me", "changeme", "example", "password", "postgres", "secret"}
ENCRYPTED = {"require", "verify-ca", "verify-full"}


class BadSetting(SystemExit):
    """Ends the start of the process with one sentence that says what to set, and status 1."""

    def __init__(self, *sentences: str) -> None:
        super().__init__("\n  ".join(["The configuration cannot be used.", *sentences]))


class Settings(BaseSettings):
    """The configuration of one process. Times are in seconds, sizes in bytes; empty means unset."""

    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", hide_input_in_errors=True
    )

    environment: Environment = "local"

    database_url: SecretStr | None = None
    database_read_url: SecretStr | None = None
    database_schemas: CommaSeparated = []
    database_pool_size: int = Field(10, ge=1, le=1000)
    database_pool_timeout: float = Field(3.0, gt=0, le=5)
    database_connect_timeout: float = Field(5.0, gt=0)
    database_statement_timeout: float = Field(30.0, ge=0)
    database_lock_timeout: float = Field(5.0, ge=0)
    database_idle_in_transaction_timeout: float = Field(60.0, ge=0)
    database_pgbouncer: bool = False
    database_fast_path: bool = True

    auth0_domain: str = ""
    auth0_audience: str = ""
    auth0_org_id: str | None = None
    auth0_client_id: str = ""
    auth0_dev_issuer: str | None = None

    slack_webhook_url: SecretStr | None = None
    slack_environments: Annotated[list[Environment], NoDecode] = ["staging", "production"]
    slack_exception_text: bool = False

    max_body_size: int = Field(1_048_576, ge=0)
    cors_origins: CommaSeparated = []
    trusted_hosts: CommaSeparated = []
    docs_enabled: bool = True
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    log_format: Literal["auto", "json", "console"] = "auto"
    shutdown_delay: float = Field(0.0, ge=0)

    @field_validator(
        "database_schemas",
        "cors_origins",
        "trusted_hosts",
        "slack_environments",
        mode="before",
    )
    @classmethod
    def _split(cls, value: Any) -> Any:
        return _parts(value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _is_fit_for_production(self) -> Self:
        if self.environment == "production":
            _check_database_url("DATABASE_URL", self.database_url)
            if self.database_read_url is not None:
                _check_database_url("DATABASE_READ_URL", self.database_read_url)
            _check_webhook(self.slack_webhook_url)
        return self


def _parts(text: str) -> Any:
    """The items of `a,b` or `["a", "b"]`."""
    if text.lstrip().startswith("["):
        try:
            return json.loads(text)
        except ValueError:
            raise ValueError("Write a,b or a JSON list.") from None
    return [part.strip() for part in text.split(",") if part.strip()]


S = TypeVar("S", bound=Settings)


def load(settings: type[S]) -> S:
    """The settings of this process; a line for each bad variable and exit status 1 otherwise."""
    try:
        return settings()
    except ValidationError as error:
        problems = error.errors(include_input=False)
        raise BadSetting(*(_describe(problem) for problem in problems)) from None


def _describe(problem: Any) -> str:
    name = str(problem["loc"][0]).upper() + ": " if problem["loc"] else ""
    return f"{name}{problem['msg'].removeprefix('Value error, ')}"


def _check_database_url(name: str, url: SecretStr | None) -> None:
    parsed = async_url(url.get_secret_value() if url else "postgresql://")
    if (parsed.password or "").lower() in PLACEHOLDERS:
        raise ValueError(f"{name} has no password of its own; production needs a real one.")
    if parsed.query.get("ssl") not in ENCRYPTED:
        raise ValueError(f"{name} is not encrypted; production needs ?sslmode=verify-full.")


def _check_webhook(url: SecretStr | None) -> None:
    if url and not url.get_secret_value().startswith("https://hooks.slack.com/"):
        raise ValueError("SLACK_WEBHOOK_URL is not on https://hooks.slack.com/.")
