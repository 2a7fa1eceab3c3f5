"""How far a cluster's log has come, told to clients, so that a replica can be asked for it."""

import re
from typing import NamedTuple, Self

import asyncpg

#: Seconds that a server may take to say where it is; without an answer its connection is closed.
PATIENCE = 1.0

_FORM = re.compile(r"([0-9a-f]{1,16})-([0-9a-f]{1,8})-([0-9a-f]{1,16})")
#: The end of the log, also of what others have not committed yet: later than any COMMIT that was
#: answered, whatever synchronous_commit says. The name of a log file begins with its timeline.
_WRITTEN = """
SELECT system_identifier, left(pg_walfile_name(lsn), 8) AS timeline, lsn::text AS lsn
FROM pg_control_system(), pg_current_wal_insert_lsn() AS lsn
"""
#: A standby's timeline in the control file may lag behind, but it is never ahead.
_REPLAYED = """
SELECT system_identifier, pg_last_wal_replay_lsn()::text AS lsn,
    to_hex(greatest(timeline_id, min_recovery_end_timeline)) AS timeline
FROM pg_control_system(), pg_control_checkpoint(), pg_control_recovery()
WHERE pg_is_in_recovery()
"""


class Position(NamedTuple):
    """A place in the log of a cluster; those of one cluster compare by timeline and place.

    After a failover the log goes on in a new timeline. As text it is safe in a header, a cookie and
    a URL, and means nothing to anybody else.
    """

    cluster: int  # PostgreSQL's system identifier: a standby has that of its primary
    timeline: int
    place: int  # in bytes

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The position that `str()` has written, None for anything else."""
        match = _FORM.fullmatch(text)
        return cls(*(int(part, 16) for part in match.groups())) if match else None

    def __str__(self) -> str:
        return "-".join(f"{part:x}" for part in self)


async def written(driver: asyncpg.Connection) -> Position:
    """Where a primary is; raises asyncpg.PostgresError on a standby, and TimeoutError."""
    return _position(await driver.fetchrow(_WRITTEN, timeout=PATIENCE))


async def replayed(driver: asyncpg.Connection) -> Position | None:
    """How far a standby has replayed, None on any other server; raises as asyncpg does."""
    row = await driver.fetchrow(_REPLAYED, timeout=PATIENCE)
    return None if row is None or row["lsn"] is None else _position(row)


def _position(row: asyncpg.Record) -> Position:
    high, low = row["lsn"].split("/")
    place = (int(high, 16) << 32) + int(low, 16)
    return Position(row["system_identifier"] % 2**64, int(row["timeline"], 16), place)


def lsn_of(position: Position) -> str:
    """The place as PostgreSQL writes it."""
    return f"{position.place >> 32:X}/{position.place & 0xFFFFFFFF:X}"
