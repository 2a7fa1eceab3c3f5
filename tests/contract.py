"""Serves a service on an empty database, and has schemathesis try what its document says.

Run in a generated project, by its Python with schemathesis: `python contract.py my_service
my-service 5`, the last being the number of examples of each operation. Ends with its status.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from boot import served  # type: ignore[import-not-found]
from dalkit.dev.issuer import issuer
from dalkit.dev.postgres import temporary_cluster
from dalkit.dev.project import find_project
from dalkit.dev.run import create_database
from dalkit.dev.token import fetch_token

#: A rule of the database, such as a check constraint, is not in the document: 422 is an answer.
CONFIG = """
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", 503]
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "3xx", 401, 403, 404, 409, 410, 412, 422, 428, 429, "5xx"]
"""


@contextmanager
def prepared(package: str) -> Iterator[dict[str, str]]:
    """Yield the environment of a service with a migrated database and an issuer of tokens."""
    with temporary_cluster() as cluster, issuer() as it:
        create_database(cluster.url("postgres"), package)
        environment = os.environ | {"DATABASE_URL": cluster.url(package), "LOG_LEVEL": "ERROR"}
        sync = [sys.executable, "-m", f"{package}.cli", "db", "sync"]
        subprocess.run(sync, env=environment, check=True)
        yield environment | {"AUTH0_DEV_ISSUER": it.url, "AUTH0_AUDIENCE": it.audience}


async def tried(command: str, environment: dict[str, str], config: Path) -> int:
    """Return the status of schemathesis."""
    token = fetch_token(environment["AUTH0_DEV_ISSUER"], find_project().scopes)
    async with served(command, environment) as (_, client):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "schemathesis.cli", f"--config-file={config}"),
            *("run", f"{str(client.base_url).rstrip('/')}/openapi.json", "--checks=all"),
            *("--phases=fuzzing", "--seed=1", "--generation-database=none", "--no-color"),
            *(f"--max-examples={sys.argv[3]}", f"--header=Authorization: Bearer {token}"),
            cwd=config.parent,  # where it leaves its own files
        )
        return await process.wait()


if __name__ == "__main__":
    with ExitStack() as stack:
        file = Path(stack.enter_context(tempfile.TemporaryDirectory()), "schemathesis.toml")
        file.write_text(CONFIG)
        ready = stack.enter_context(prepared(sys.argv[1]))
        sys.exit(asyncio.run(tried(sys.argv[2], ready, file)))
