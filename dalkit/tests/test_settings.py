"""What the service refuses to start with, and how it says so."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import Field, ValidationError

from dalkit.settings import BadSetting, CommaSeparated, Settings, load

PRODUCTION = "postgresql://app:s3cr3t-of-its-own@db.example.com/app?sslmode=verify-full"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable of the platform and no .env but what a test sets."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def refusal(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Return a function: the lines that say why these variables are refused, without the title."""

    def lines(settings: type[Settings] = Settings, **variables: str) -> list[str]:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(BadSetting) as caught:
            load(settings)
        title, *rest = str(caught.value).split("\n  ")
        assert title == "The configuration cannot be used."
        return rest

    return lines


def production(**values: object) -> Settings:
    """Settings of a production process."""
    return Settings(environment="production", **values)  # type: ignore[arg-type]


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


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_staging_is_checked_like_production(
    environment: str, refusal: Callable[..., list[str]]
) -> None:
    lines = refusal(
        ENVIRONMENT=environment,
        AUTH0_DEV_ISSUER="http://127.0.0.1:9000/",
        SLACK_WEBHOOK_URL="https://example.com/hook",
    )
    assert lines == [
        f"DATABASE_URL has no password of its own; {environment} needs a real one.",
        f"AUTH0_DEV_ISSUER is set in {environment}: unset it, or anyone may log in.",
        "SLACK_WEBHOOK_URL is not on https://hooks.slack.com/.",
    ]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("DATABASE_POOL_SIZE", "many", "DATABASE_POOL_SIZE: Input should be a valid integer"),
        ("DATABASE_POOL_TIMEOUT", "60", "DATABASE_POOL_TIMEOUT: Input should be less than"),
        ("DATABASE_STATEMENT_TIMEOUT", "inf", "DATABASE_STATEMENT_TIMEOUT: Input should be a fini"),
        ("ENVIRONMENT", "prod", "ENVIRONMENT: Input should be 'local', 'testing'"),
        ("LOG_LEVEL", "loud", "LOG_LEVEL: Input should be"),
        ("DATABASE_URL", "mysql://a@b/c", "DATABASE_URL: The database URL starts with mysql://"),
        ("DATABASE_URL", "db.example.com", "DATABASE_URL: The database URL cannot be parsed."),
        ("DATABASE_READ_URL", "postgresql://db/a?wat=1", "DATABASE_READ_URL: The database URL's"),
        ("DATABASE_SCHEMAS", "a" * 64, "DATABASE_SCHEMAS: 'aaa"),
        ("DATABASE_SCHEMAS", '"Sales"', "DATABASE_SCHEMAS: '\"Sales\"' is no schema's name: "),
        ("DATABASE_SCHEMAS", '["a", ""]', "DATABASE_SCHEMAS: '' is no schema's name: "),
        ("DATABASE_SCHEMAS", "a\nb", "DATABASE_SCHEMAS: 'a\\nb' is no schema's name: "),
        ("AUTH0_DOMAIN", "https://team.auth0.com/", "AUTH0_DOMAIN is 'https://team.auth0.com/': "),
        ("AUTH0_DOMAIN", "team", "AUTH0_DOMAIN is 'team': write the host name only"),
        ("DATABASE_URL", "postgresql://a:b@db:65536/a", "DATABASE_URL: The database URL's port 65"),
        ("DATABASE_URL", "postgresql://a:b@db..x/a", "DATABASE_URL: The database URL's host 'db.."),
        ("DATABASE_STATEMENT_TIMEOUT", "1e9", "DATABASE_STATEMENT_TIMEOUT: Input should be less"),
        ("SHUTDOWN_DELAY", "1e300", "SHUTDOWN_DELAY: Input should be less than or equal to"),
        ("SLACK_WEBHOOK_URL", "hooks.slack.com/a", "SLACK_WEBHOOK_URL is no URL: it begins with"),
        ("SLACK_WEBHOOK_URL", "https://a b", "SLACK_WEBHOOK_URL is no URL: it begins with"),
        ("CORS_ORIGINS", "https://a.example:65536", "CORS_ORIGINS: 'https://a.example:65536' is "),
        ("AUTH0_DEV_ISSUER", "http://127.0.0.1:1", "AUTH0_DEV_ISSUER is 'http://127.0.0.1:1': "),
        ("AUTH0_DEV_ISSUER", "file:///etc/", "AUTH0_DEV_ISSUER is 'file:///etc/': write an http"),
        ("CORS_ORIGINS", "https://a.example/", "CORS_ORIGINS: 'https://a.example/' is not an ori"),
        ("CORS_ORIGINS", "https://a.example/b", "CORS_ORIGINS: 'https://a.example/b' is not an"),
        ("CORS_ORIGINS", "a.example", "CORS_ORIGINS: 'a.example' is not an origin"),
        ("CORS_ORIGINS", "https://*.example", "CORS_ORIGINS: 'https://*.example' is not an origin"),
        ("CORS_ORIGINS", "https://A.example", "CORS_ORIGINS: 'https://A.example' is not an origin"),
        ("CORS_ORIGINS", "https://a.example:443", "CORS_ORIGINS: 'https://a.example:443' is not"),
        ("CORS_ORIGINS", "null", "CORS_ORIGINS: 'null' is not an origin"),
        ("CORS_ORIGINS", "['https://a.example']", "CORS_ORIGINS: Write a,b or a JSON list"),
        ("CORS_ORIGINS", "[" * 100_000, "CORS_ORIGINS: Write a,b or a JSON list"),
        ("SLACK_ENVIRONMENTS", "prod", "SLACK_ENVIRONMENTS: Input should be 'local', 'testing'"),
        ("SLACK_ENVIRONMENTS", '["staging", "prod"]', "SLACK_ENVIRONMENTS: Input should be"),
        ("SLACK_ENVIRONMENTS", '["staging"', "SLACK_ENVIRONMENTS: Write a,b or a JSON list"),
        ("CORS_ORIGINS", "[1]", "CORS_ORIGINS: Input should be a valid string"),
        ("TRUSTED_HOSTS", "a.*.example", "TRUSTED_HOSTS: 'a.*.example' matches no host: "),
        ("TRUSTED_HOSTS", "*example.com", "TRUSTED_HOSTS: '*example.com' matches no host: "),
        ("TRUSTED_HOSTS", "a.example,b.example:80", "TRUSTED_HOSTS: 'b.example:80' matches no "),
        ("TRUSTED_HOSTS", "https://a.example", "TRUSTED_HOSTS: 'https://a.example' matches no "),
    ],
)
def test_a_bad_variable_is_one_line_and_no_traceback(
    refusal: Callable[..., list[str]], name: str, value: str, message: str
) -> None:
    [line] = refusal(**{name: value})
    assert line.startswith(message)
    assert "\n" not in line


def test_all_bad_variables_are_told_at_once(refusal: Callable[..., list[str]]) -> None:
    lines = refusal(
        ENVIRONMENT="staging",
        DATABASE_URL="postgresql://app:of-its-own@db/app",
        DATABASE_SCHEMAS='""',
        AUTH0_DOMAIN="team",
        AUTH0_AUDIENCE="same",
        AUTH0_CLIENT_ID="same",
        AUTH0_DEV_ISSUER="http://127.0.0.1:9000/",
        CORS_ORIGINS="a.example",
        TRUSTED_HOSTS="a.example:80",
        LOG_FORMAT="xml",
    )
    assert [line.split()[0].rstrip(":") for line in lines] == [
        "DATABASE_URL",
        "DATABASE_SCHEMAS",
        "AUTH0_DOMAIN",
        "AUTH0_AUDIENCE",
        "AUTH0_DEV_ISSUER",
        "CORS_ORIGINS",
        "TRUSTED_HOSTS",
        "LOG_FORMAT",
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AUTH0_DOMAIN", "https://user:hunter-two@team.auth0.com/"),
        ("AUTH0_DOMAIN", "user:hunter/-two@team.auth0.com"),
        ("AUTH0_DEV_ISSUER", "http://user:hunter-two@127.0.0.1:9000/"),
        ("CORS_ORIGINS", "https://user:hunter-two@a.example"),
        ("TRUSTED_HOSTS", "user:hunter-two@a.example"),
        ("DATABASE_URL", "postgresql://app:hunter-two@db:port/app"),
        ("DATABASE_URL", "postgresql://app:hunter@-two@db/app"),
        ("DATABASE_READ_URL", "mysql://app:hunter-two@db/app"),
        ("SLACK_WEBHOOK_URL", "https://example.com/hunter-two"),
    ],
)
def test_messages_do_not_repeat_secrets(
    refusal: Callable[..., list[str]], name: str, value: str
) -> None:
    environment = "local" if name == "AUTH0_DEV_ISSUER" else "production"
    lines = refusal(ENVIRONMENT=environment, **{name: value})
    assert any(line.startswith(name) for line in lines)
    assert "hunter" not in " ".join(lines)
    assert "-two" not in " ".join(lines)


def test_settings_do_not_show_passwords() -> None:
    assert "hunter-two" not in repr(Settings(database_url="postgresql://app:hunter-two@db/app"))


@pytest.mark.parametrize("value", ["staging,production", ' ["staging", "production"]'])
def test_a_list_may_be_json(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("SLACK_ENVIRONMENTS", value)
    monkeypatch.setenv("TRUSTED_HOSTS", value)
    settings = Settings(_env_file=None)
    assert settings.slack_environments == ["staging", "production"]
    assert settings.trusted_hosts == ["staging", "production"]


@pytest.mark.parametrize("value", ["a.example, *.b.example,", '["a.example", "*.b.example"]'])
def test_lists_take_both_forms(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("TRUSTED_HOSTS", value)
    assert Settings().trusted_hosts == ["a.example", "*.b.example"]


def test_what_lists_may_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    origins = "*,http://localhost:3000,https://a-b.example:8443,capacitor://localhost,http://[::1]"
    monkeypatch.setenv("CORS_ORIGINS", origins)
    monkeypatch.setenv("TRUSTED_HOSTS", "*,A.example,*.b.example,127.0.0.1,[::1],my_host")
    monkeypatch.setenv("DATABASE_SCHEMAS", "public,Größe,with space")
    settings = Settings()
    assert len(settings.cors_origins) == 5
    assert len(settings.trusted_hosts) == 6
    assert settings.database_schemas == ["public", "Größe", "with space"]


def test_a_service_has_lists_of_its_own(
    monkeypatch: pytest.MonkeyPatch, refusal: Callable[..., list[str]]
) -> None:
    class Own(Settings):
        tags: CommaSeparated
        plain: list[int] = Field(default_factory=list)

    monkeypatch.setenv("TAGS", "a,b")
    assert load(Own).tags == ["a", "b"]
    [line] = refusal(Own, PLAIN="1,2")
    assert "plain" in line


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "")
    monkeypatch.setenv("TRUSTED_HOSTS", "")
    monkeypatch.setenv("DOCS_ENABLED", "")
    settings = Settings()
    assert (settings.database_url, settings.trusted_hosts) == (None, [])
    assert settings.docs_enabled is True


def test_what_ends_with_a_line_of_a_file_is_taken_without_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = {
        "AUTH0_DOMAIN": "team.auth0.com",
        "AUTH0_AUDIENCE": "https://api.example.com",
        "AUTH0_ORG_ID": "org_a",
        "DATABASE_URL": PRODUCTION,
        "SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/a",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, f" {value}\n")
    settings = load(Settings)
    for name, value in values.items():
        found = getattr(settings, name.lower())
        assert getattr(found, "get_secret_value", lambda found=found: found)() == value


@pytest.mark.parametrize(
    ("environment", "given", "enabled"),
    [
        ("local", None, True),
        ("testing", None, True),
        ("staging", None, False),
        ("production", None, False),
        ("production", "true", True),
        ("local", "false", False),
    ],
)
def test_the_docs_are_off_in_staging_and_production_unless_asked_for(
    monkeypatch: pytest.MonkeyPatch, environment: str, given: str | None, enabled: bool
) -> None:
    monkeypatch.setenv("DATABASE_URL", PRODUCTION)
    monkeypatch.setenv("ENVIRONMENT", environment)
    if given is not None:
        monkeypatch.setenv("DOCS_ENABLED", given)
    assert Settings().docs_enabled is enabled


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_blanks_are_no_value(refusal: Callable[..., list[str]], name: str) -> None:
    """Taken for nothing, they would switch off an organization, hosts or alerts without a word."""
    for blanks in (" ", "\t\n "):
        [line] = refusal(**{name.upper(): blanks})
        assert line == f"{name.upper()}: Only blanks: give it a value, or unset it."


@pytest.mark.parametrize(
    "name", ["TRUSTED_HOSTS", "CORS_ORIGINS", "SLACK_ENVIRONMENTS", "DATABASE_SCHEMAS"]
)
def test_commas_are_no_list(refusal: Callable[..., list[str]], name: str) -> None:
    assert refusal(**{name: " , "}) == [f"{name}: Only commas: write a,b or unset it."]


def test_a_line_is_said_once(refusal: Callable[..., list[str]]) -> None:
    lines = refusal(SLACK_ENVIRONMENTS="prod,stage", MAX_BODY_SIZE="much")
    assert [line.partition(":")[0] for line in lines] == ["SLACK_ENVIRONMENTS", "MAX_BODY_SIZE"]
