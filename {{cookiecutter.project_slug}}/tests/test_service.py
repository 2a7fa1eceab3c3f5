"""The service as a whole."""

from pathlib import Path

import httpx

from {{ cookiecutter.__package_name }}.settings import Settings

PROJECT = Path(__file__).parents[1]


async def test_a_migrated_database_is_ready(client: httpx.AsyncClient) -> None:
    response = await client.get("/readyz")
    assert response.status_code == 200, response.text


async def test_an_error_says_which_request_it_was(client: httpx.AsyncClient) -> None:
    response = await client.get("/nowhere", headers={"x-request-id": "mine"})
    assert response.headers["content-type"] == "application/problem+json"
    assert (response.status_code, response.json()["request_id"]) == (404, "mine")


def test_the_variables_of_the_service_are_in_the_example_file() -> None:
    lines = (PROJECT / ".env.example").read_text("utf-8").splitlines()
    named = {line.split("=")[0].lower() for line in lines if "=" in line}
    assert named >= set(Settings.__annotations__)
