"""What the service refuses to start with, and how it says so."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from dalkit.settings import Settings, load

PRODUCTION = "postgresql://app:s3cr3t-of-its-own@db.example.com/app?sslmode=verify-full"


def production(**values: object) -> Settings:
    """Settings of a production process."""
    return Settings(_env_file=None, environment="production", **values)  # type: ignore[arg-type]


def test_production_starts_with_an_encrypted_url_and_a_password_of_its_own() -> None:
    in_query = PRODUCTION.replace(":s3cr3t-of-its-own", "") + "&password=s3cr3t-of-its-own"
    for url in (PRODUCTION, in_query):
        assert production(database_url=url).environment == "production"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (None, "DATABASE_URL has no password of its own"),
        (PRODUCTION.replace("s3cr3t-of-its-own", "postgres"), "no password of its own"),
        (PRODUCTION.replace("s3cr3t-of-its-own", "change-me"), "no password of its own"),
        (PRODUCTION.replace("?sslmode=verify-full", ""), "DATABASE_URL is not encrypted"),
        (PRODUCTION.replace("verify-full", "prefer"), "DATABASE_URL is not encrypted"),
        (PRODUCTION.replace("sslmode=verify-full", "ssl=disable"), "DATABASE_URL is not encrypted"),
        (PRODUCTION + "&ssl=disable", "DATABASE_URL is not encrypted"),
        (PRODUCTION.replace("s3cr3t-of-its-own", "p%6Fstgres"), "no password of its own"),
    ],
)
def test_production_refuses_a_placeholder_and_an_open_line(url: str | None, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        production(database_url=url)


def test_the_replica_is_held_to_the_same() -> None:
    with pytest.raises(ValidationError, match="DATABASE_READ_URL is not encrypted"):
        production(database_url=PRODUCTION, database_read_url=PRODUCTION.split("?", maxsplit=1)[0])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("DATABASE_POOL_SIZE", "many", "DATABASE_POOL_SIZE: Input should be a valid integer"),
        ("DATABASE_POOL_TIMEOUT", "60", "DATABASE_POOL_TIMEOUT: Input should be less than"),
        ("ENVIRONMENT", "prod", "ENVIRONMENT: Input should be 'local', 'testing'"),
        ("SLACK_ENVIRONMENTS", "prod", "SLACK_ENVIRONMENTS: Input should be 'local', 'testing'"),
        ("SLACK_ENVIRONMENTS", '["staging", "prod"]', "SLACK_ENVIRONMENTS: Input should be"),
        ("SLACK_ENVIRONMENTS", '["staging"', "SLACK_ENVIRONMENTS: Write a,b or a JSON list"),
        ("CORS_ORIGINS", "[1]", "CORS_ORIGINS: Input should be a valid string"),
        ("LOG_LEVEL", "loud", "LOG_LEVEL: Input should be"),
    ],
)
def test_a_bad_variable_is_one_line_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as caught:
        load(Settings)
    assert message in str(caught.value)


def test_messages_do_not_repeat_secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENVIRONMENT", "production")
    monkeypatch.setenv("DATABASE_URL", "postgresql://app:hunter-two@db/app")
    with pytest.raises(SystemExit) as caught:
        load(Settings)
    assert "hunter-two" not in str(caught.value)
    assert "hunter-two" not in repr(Settings(environment="local"))


def test_an_empty_variable_is_an_unset_one_and_lists_are_comma_separated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATABASE_URL", "")
    monkeypatch.setenv("TRUSTED_HOSTS", "a.example, b.example")
    settings = Settings(_env_file=None)
    assert settings.database_url is None
    assert settings.trusted_hosts == ["a.example", "b.example"]


@pytest.mark.parametrize("value", ["staging,production", ' ["staging", "production"]'])
def test_a_list_may_be_json(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("SLACK_ENVIRONMENTS", value)
    monkeypatch.setenv("TRUSTED_HOSTS", value)
    settings = Settings(_env_file=None)
    assert settings.slack_environments == ["staging", "production"]
    assert settings.trusted_hosts == ["staging", "production"]
