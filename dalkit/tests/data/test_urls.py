"""Every form of database URL that people paste works, or is refused in a sentence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import URL, make_url, text

from dalkit.data.engine import create_engine
from dalkit.data.urls import DatabaseUrlError, async_url

SECRET = "hunter2"


@pytest.mark.parametrize(
    "scheme",
    [
        "postgresql",
        "postgres",
        "postgresql+psycopg",
        "postgresql+psycopg2",
        "postgresql+asyncpg",
        "postgres+asyncpg",
    ],
)
def test_every_postgres_scheme_becomes_asyncpg(scheme: str) -> None:
    url = async_url(f"{scheme}://user:{SECRET}@host:5433/name")
    assert url == make_url(f"postgresql+asyncpg://user:{SECRET}@host:5433/name")


@pytest.mark.parametrize(
    "mode", ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
)
def test_sslmode_becomes_ssl(mode: str) -> None:
    assert dict(async_url(f"postgresql://host/name?sslmode={mode}").query) == {"ssl": mode}


def test_certificates_and_server_settings_travel_in_a_dsn() -> None:
    url = async_url("postgresql://h/n?sslrootcert=/ca%20file&application_name=my%20app")
    assert dict(url.query) == {
        "dsn": "postgresql://?sslrootcert=%2Fca+file&application_name=my+app"
    }


def test_several_hosts_become_repeated_parameters() -> None:
    url = async_url("postgresql://user:pass@one:5433,two/name?target_session_attrs=read-write")
    assert url.query["host"] == ("one:5433", "two:5432")
    assert url.query["target_session_attrs"] == "read-write"
    assert (url.username, url.password, url.database) == ("user", "pass", "name")


def test_credentials_in_the_query_move_to_where_they_are_masked() -> None:
    url = async_url(f"postgresql:///?host=/run/pg&user=me&password={SECRET}&dbname=name")
    assert (url.username, url.password, url.database) == ("me", SECRET, "name")
    assert SECRET not in repr(url)
    assert url.query["host"] == "/run/pg"


@pytest.mark.parametrize(
    "parameter", ["channel_binding=prefer", "gssencmode=disable", "client_encoding=UTF8"]
)
def test_a_parameter_that_asks_for_what_asyncpg_does_anyway_is_dropped(parameter: str) -> None:
    assert not async_url(f"postgresql://host/name?{parameter}").query


@given(st.text(min_size=1), st.text(min_size=1))
def test_user_and_password_survive(user: str, password: str) -> None:
    url = URL.create("postgres", user, password, "host", 5432, "name")
    for given_url in (url, url.render_as_string(hide_password=False)):
        translated = async_url(async_url(given_url))
        assert (translated.username, translated.password) == (user, password)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (f"mysql://user:{SECRET}@host/name", "needs PostgreSQL"),
        (f"sqlite:///{SECRET}", "needs PostgreSQL"),
        (f"postgresql+pg8000://user:{SECRET}@host/name", "needs PostgreSQL"),
        (f"user:{SECRET}@host/name", "cannot be parsed"),
        (f"postgresql://user:{SECRET}@host:port/name", "cannot be parsed"),
        (f"postgresql://user:x@{SECRET}@host/name", "@ as %40"),
        (f"postgresql://user:x@y:{SECRET}@host/name", "@ as %40"),
        (f"postgresql://user:{SECRET}@host/name?sslmode=yes", "verify-full"),
        (f"postgresql://user:{SECRET}@host/name?connect_timeout=3", "DATABASE_CONNECT_TIMEOUT"),
        (f"postgresql://user:{SECRET}@host/name?pgbouncer=true", "DATABASE_PGBOUNCER=true"),
        (f"postgresql://user:{SECRET}@host/name?channel_binding=require", "channel_binding"),
        (f"postgresql://user:{SECRET}@host/name?sslpassword={SECRET}", "key file"),
        (f"postgresql://user:{SECRET}@host:65536/name", "port 65536 is over 65535"),
        (f"postgresql://user:{SECRET}@a:1,b:65536/name", "port 65536 is over 65535"),
        (f"postgresql://user:{SECRET}@a..b/name", r"host 'a\.\.b' is none"),
        (f"postgresql://user:{SECRET}@{'a' * 64}.example/name", "is none"),
        (f"postgresql://user:{SECRET}@a:1,b..c:2/name", r"host 'b\.\.c' is none"),
        (f"postgresql://user:{SECRET}@host/name?command_timeout=1s", "no number of seconds"),
        (f"postgresql://user:{SECRET}@host/name?command_timeout=0", "no number of seconds"),
        (f"postgresql://user:{SECRET}@host/name?keepalives=1", "'keepalives' has no counterpart"),
    ],
)
def test_what_cannot_be_used_is_refused_without_showing_the_password(
    url: str, message: str
) -> None:
    with pytest.raises(DatabaseUrlError, match=message) as caught:
        async_url(url)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.no_pgbouncer("it takes no options of the server")
async def test_libpq_parameters_reach_the_server(server_url: URL) -> None:
    url = server_url.set(database="postgres").update_query_dict(
        {"application_name": "pasted", "options": "-c work_mem=5MB", "sslmode": "prefer"}
    )
    engine = create_engine(url.render_as_string(hide_password=False))
    async with engine.connect() as connection:
        statement = text("SELECT current_setting('application_name'), current_setting('work_mem')")
        assert (await connection.execute(statement)).one() == ("pasted", "5MB")
    await engine.dispose()


async def test_the_first_host_that_answers_is_used(server_url: URL) -> None:
    credentials = f"{server_url.username}:{server_url.password or ''}"
    hosts = f"127.0.0.1:1,{server_url.host}:{server_url.port}"
    engine = create_engine(f"postgresql://{credentials}@{hosts}/postgres")
    async with engine.connect() as connection:
        assert await connection.scalar(text("SELECT 1")) == 1
    await engine.dispose()


async def test_a_missing_root_certificate_is_noticed(server_url: URL) -> None:
    """The certificate's path reaches asyncpg, which builds the TLS context by libpq's rules."""
    url = server_url.update_query_dict({"sslmode": "verify-full", "sslrootcert": "/nowhere.crt"})
    engine = create_engine(url)
    with pytest.raises(FileNotFoundError):
        async with engine.connect():
            pass
    await engine.dispose()
