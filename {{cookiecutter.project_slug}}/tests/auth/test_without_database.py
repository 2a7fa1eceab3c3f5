"""Who has no token costs the database nothing."""

from typing import Any

import pytest
from fastapi import FastAPI

from {{ cookiecutter.__package_name }}.app import create_app
from {{ cookiecutter.__package_name }}.db import DataAccessLayer
from {{ cookiecutter.__package_name }}.settings import Settings

from .conftest import serving
from .test_deny_by_default import PUBLIC, methods, walk
from dev.issuer import Issuer


@pytest.fixture
def unreachable(free_tcp_port: int) -> FastAPI:
    """The service with a database that refuses connections."""
    url = f"postgresql://nobody@127.0.0.1:{free_tcp_port}/nothing"
    return create_app(Settings(_env_file=None, environment="testing", database_url=url))


async def test_no_token_is_401_while_the_database_is_down(
    unreachable: FastAPI, issuer: Issuer
) -> None:
    """On every guarded route; with a token it is 503 where the database is needed."""
    async with serving(unreachable) as client:
        for path, route in walk(unreachable.routes):
            if path not in PUBLIC:
                for method in methods(route):
                    assert (await client.request(method, path)).status_code == 401
        headers = {"Authorization": f"Bearer {issuer.token(['read:books'])}"}
        assert (await client.get("/v1/books", headers=headers)).status_code == 503
        assert (await client.get("/v1/me", headers=headers)).status_code == 200
        assert (await client.get("/livez")).status_code == 200


async def test_no_token_is_401_while_the_pool_is_exhausted(
    engine_uri: str, settings: Settings, issuer: Issuer
) -> None:
    """At once; with a token it is 503 after the pool's timeout."""
    pool: dict[str, Any] = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 0.2}
    async with (
        DataAccessLayer.connect(engine_uri, **pool) as dal,
        dal.engine.connect(),
        serving(create_app(settings, dal=dal)) as client,
    ):
        assert (await client.get("/v1/books")).status_code == 401
        headers = {"Authorization": f"Bearer {issuer.token(['read:books'])}"}
        assert (await client.get("/v1/books", headers=headers)).status_code == 503
