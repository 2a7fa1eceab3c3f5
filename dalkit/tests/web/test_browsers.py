"""What browsers are told: security headers, CORS, hosts."""

import pytest
from fastapi import Response
from starlette.responses import HTMLResponse

from .apps import calling, wrapped_app

PAGE = "https://app.example"


@pytest.mark.parametrize("path", ["/fine/1", "/broken", "/nowhere"])
async def test_every_response_has_the_security_headers(path: str) -> None:
    async with calling(wrapped_app()) as client:
        headers = (await client.get(path)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert "strict-transport-security" not in headers


async def test_over_https_the_browser_is_told_to_stay_there() -> None:
    async with calling(wrapped_app(), "https://books.example") as client:
        headers = (await client.get("/fine/1")).headers
    assert headers["strict-transport-security"] == "max-age=31536000"


async def test_a_page_may_load_what_is_its_own_and_run_nothing_inline() -> None:
    app = wrapped_app()

    @app.get("/page")
    async def page() -> HTMLResponse:
        return HTMLResponse("<p>")

    async with calling(app) as client:
        policy = (await client.get("/page")).headers["content-security-policy"]
    assert "default-src 'self';" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


async def test_a_route_s_own_header_stays() -> None:
    app = wrapped_app()

    @app.get("/own")
    async def own(response: Response) -> None:
        response.headers["X-Frame-Options"] = "SAMEORIGIN"

    async with calling(app) as client:
        assert (await client.get("/own")).headers.get_list("x-frame-options") == ["SAMEORIGIN"]


@pytest.mark.parametrize("origins", [[], ["https://other.example"]])
async def test_cors_is_closed(origins: list[str]) -> None:
    preflight = {"Origin": PAGE, "Access-Control-Request-Method": "GET"}
    async with calling(wrapped_app(cors_origins=origins)) as client:
        answers = [
            await client.get("/fine/1", headers={"Origin": PAGE}),
            await client.options("/fine/1", headers=preflight),
        ]
    assert not any("access-control-allow-origin" in answer.headers for answer in answers)


@pytest.mark.parametrize(("path", "status"), [("/fine/1", 200), ("/broken", 500), ("/no", 404)])
async def test_a_listed_origin_can_read_answers_and_errors(path: str, status: int) -> None:
    async with calling(wrapped_app(cors_origins=[PAGE])) as client:
        response = await client.get(path, headers={"Origin": PAGE})
    assert response.status_code == status
    assert response.headers["access-control-allow-origin"] == PAGE
    assert "access-control-allow-credentials" not in response.headers
    assert "X-Request-ID" in response.headers["access-control-expose-headers"]


async def test_a_listed_origin_may_send_a_token_and_an_etag() -> None:
    preflight = {
        "Origin": PAGE,
        "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": "authorization,if-match,content-type",
    }
    async with calling(wrapped_app(cors_origins=[PAGE])) as client:
        response = await client.options("/fine/1", headers=preflight)
    assert response.status_code == 200
    assert response.headers["x-request-id"]


@pytest.mark.parametrize(
    ("host", "path", "status"),
    [
        ("books.example", "/fine/1", 200),
        ("a.internal.example:8000", "/fine/1", 200),
        ("evil.example", "/fine/1", 400),
        ("www.books.example", "/fine/1", 400),
        ("10.0.0.7:8000", "/livez", 200),
        ("10.0.0.7:8000", "/fine/1", 400),
    ],
)
async def test_only_trusted_hosts_are_answered(host: str, path: str, status: int) -> None:
    app = wrapped_app(trusted_hosts=["books.example", "*.internal.example"])
    async with calling(app) as client:
        response = await client.get(path, headers={"Host": host})
    assert response.status_code == status
    assert status == 200 or response.headers["content-type"] == "application/problem+json"


async def test_any_host_is_answered_by_default() -> None:
    async with calling(wrapped_app()) as client:
        response = await client.get("/fine/1", headers={"Host": "whatever.example"})
    assert response.status_code == 200
