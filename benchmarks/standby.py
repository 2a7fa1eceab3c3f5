"""A standby that streams from a primary of the embedded server."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dalkit.dev.postgres import Cluster, cluster
from dalkit.dev.programs import choose_account, usable_binaries

from .database import SETTINGS, ask
from .errors import BenchmarkError

#: Seconds for a standby to replay what the primary has written.
PATIENCE = 30.0
REPLAYED = "SELECT pg_last_wal_replay_lsn() >= '{}'"


@contextmanager
def standby(primary: Cluster, data_dir: Path) -> Iterator[Cluster]:
    """Yield a copy of `primary` that follows it; raises BenchmarkError."""
    account = choose_account(data_dir)
    programs, _ = usable_binaries(account, data_dir.with_name(f"{data_dir.name}.binaries"))
    data_dir.mkdir(mode=0o700)
    account.take(data_dir)
    works, output = account.run(
        *(str(programs / "pg_basebackup"), "-h", "127.0.0.1", "-p", str(primary.port)),
        *("-U", "postgres", "-D", str(data_dir), "-R", "-c", "fast", "--no-sync"),
    )
    if not works:
        raise BenchmarkError(f"pg_basebackup failed:\n{output}")
    with cluster(data_dir, settings=SETTINGS) as it:
        yield it


def catch_up(primary: str, replica: str) -> None:
    """Return when the replica has what the primary has now; raises BenchmarkError."""
    reached = asyncio.run(ask(primary, "SELECT pg_current_wal_insert_lsn()::text"))
    asyncio.run(ask(primary, "SELECT pg_logical_emit_message(true, '', '')"))  # a COMMIT after it
    end = time.monotonic() + PATIENCE
    while not asyncio.run(ask(replica, REPLAYED.format(reached))):
        if time.monotonic() > end:
            raise BenchmarkError(f"The standby has not come to {reached} in {PATIENCE:g} s.")
        time.sleep(0.02)
