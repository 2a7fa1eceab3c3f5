"""The API keeps what its OpenAPI document promises, whatever is sent to it."""

import sys
from pathlib import Path

import anyio
import httpx
import pytest

from dalkit.settings import Settings

from tests.service.app import create_app
from tests.serving import serving

pytestmark = pytest.mark.slow

EXAMPLES = 15
CONFIG = Path(__file__).with_name("schemathesis.toml")


@pytest.mark.parametrize(
    ("as_user", "compiled"),
    [(True, True), (False, True), (True, False)],
    ids=["as a user", "anonymous", "as a user, routes not compiled"],
)
async def test_schemathesis_finds_nothing(
    committed_database: str,
    client: httpx.AsyncClient,
    tmp_path: Path,
    as_user: bool,
    compiled: bool,
) -> None:
    """All checks, on a real socket; `client` knows how to sign in where there is something to."""
    settings = Settings(
        _env_file=None,
        environment="testing",
        database_url=committed_database,
        log_level="ERROR",
        compiled_routes=compiled,
    )
    token = client.headers.get("authorization") if as_user else None
    async with serving(create_app(settings)) as url:
        command = [sys.executable, "-m", "schemathesis.cli", f"--config-file={CONFIG}"]
        command += ["run", f"{url}/openapi.json"]
        command += ["--checks=all", f"--max-examples={EXAMPLES}", "--seed=1", "--no-color"]
        command += [f"--header=Authorization: {token}"] if token else []
        result = await anyio.run_process(command, cwd=tmp_path, check=False)
    output = (result.stdout[-5000:] + result.stderr).decode(errors="replace")
    assert result.returncode == 0, output
    assert as_user is False or "returned only 401/403" not in output
