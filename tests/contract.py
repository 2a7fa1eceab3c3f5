"""Serves a service on an empty database, and has schemathesis try what its document says.

Run in a generated project, by its Python with schemathesis: `python contract.py my_service
my-service 5`, the last being the number of examples of each operation. Ends with its status.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from boot import issuer, served
from dalkit.dev.postgres import temporary_cluster
from dalkit.dev.run import create_database

#: A rule of the database, such as a check constraint, is not in the document: 422 is an answer.
CONFIG = """
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", 503]
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "3xx", 401, 403, 404, 409, 410, 412, 422, 428, 429, "5xx"]
"""


def token(environment: dict[str, str]) -> str:
    """Return a token with every scope that openapi.json names."""
    from dalkit.dev.project import find_project
    from dalkit.dev.token import fetch_token

    return fetch_token(environment["AUTH0_DEV_ISSUER"], find_project().scopes)


async def main(package: str, command: str, examples: str) -> int:
    """Return the status of schemathesis."""
    with ExitStack() as stack:
        cluster = stack.enter_context(temporary_cluster())
        await asyncio.to_thread(create_database, cluster.url("postgres"), package)
        environment = os.environ | {"DATABASE_URL": cluster.url(package), "LOG_LEVEL": "ERROR"}
        environment |= stack.enter_context(issuer())
        sync = [sys.executable, "-m", f"{package}.cli", "db", "sync"]
        subprocess.run(sync, env=environment, check=True)
        bearer = f"--header=Authorization: Bearer {token(environment)}"
        config = Path(stack.enter_context(tempfile.TemporaryDirectory()), "schemathesis.toml")
        config.write_text(CONFIG)
        async with served(command, environment) as (_, client):
            document = f"{str(client.base_url).rstrip('/')}/openapi.json"
            assert "/v1/publishers" in json.dumps((await client.get(document)).json())
            tried = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "schemathesis.cli", f"--config-file={config}"),
                *("run", document, "--checks=all", "--phases=fuzzing", "--no-color", bearer),
                *(f"--max-examples={examples}", "--seed=1", "--generation-database=none"),
                cwd=config.parent,
            )
            return await tried.wait()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(*sys.argv[1:])))
