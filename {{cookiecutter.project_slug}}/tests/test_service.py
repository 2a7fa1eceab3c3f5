"""The service as a whole: it starts, says what it is, and lets in who may."""

import json
from pathlib import Path

import httpx
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

PROJECT = Path(__file__).parents[1]
PUBLIC = {"/livez", "/readyz", "/docs", "/docs/oauth2-redirect", "/openapi.json"}


async def test_a_migrated_database_is_ready(client: httpx.AsyncClient) -> None:
    response = await client.get("/readyz")
    assert response.status_code == 200, response.text
