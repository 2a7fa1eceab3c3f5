"""Who has no token costs the database nothing."""

from typing import Any

import pytest
import sqlalchemy as sa
from fastapi import FastAPI

from dalkit import DataAccessLayer, Transaction
from dalkit.auth import require
from dalkit.dev.issuer import Issuer
from dalkit.settings import Settings

from .conftest import serving
from .test_deny_by_default import PUBLIC, methods, url_of, walk
from tests.service.app import create_app


async def read(tx: Transaction) -> None:
    await tx.execute(sa.select(1))


def reading_app(settings: Settings, dal: DataAccessLayer | None = None) -> FastAPI:
    """The service with one more guarded route, which needs the database."""
    app = create_app(settings, dal=dal)
    app.add_api_route("/v1/reading", read, dependencies=[require("read:books")])
    return app


@pytest.fixture
def unreachable(free_tcp_port: int) -> FastAPI:
    """The service with a database that refuses connections."""
    url = f"postgresql://nobody@127.0.0.1:{free_tcp_port}/nothing"
    return reading_app(Settings(_env_file=None, environment="testing", database_url=url))


async def test_no_token_is_401_while_the_database_is_down(
    unreachable: FastAPI, issuer: Issuer
) -> None:
    """On every guarded route; with a token it is 503 where the database is needed."""
    async with serving(unreachable) as client:
        for path, route in walk(unreachable.routes):
            if path not in PUBLIC:
                for method in methods(route):
                    assert (await client.request(method, url_of(path))).status_code == 401
        headers = {"Authorization": f"Bearer {issuer.token(['read:books'])}"}
        assert (await client.get("/v1/reading", headers=headers)).status_code == 503
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
        serving(reading_app(settings, dal)) as client,
    ):
        assert (await client.get("/v1/reading")).status_code == 401
        headers = {"Authorization": f"Bearer {issuer.token(['read:books'])}"}
        assert (await client.get("/v1/reading", headers=headers)).status_code == 503
