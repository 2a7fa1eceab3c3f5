"""The table of Idempotency-Key, for an owner's migration."""

from typing import Any

#: One row for each request that was done; `created_at` is what it is swept by.
TABLE = """
CREATE TABLE {name} (
    principal text NOT NULL,
    key text NOT NULL,
    method text NOT NULL,
    path text NOT NULL,
    fingerprint bytea NOT NULL,
    status integer NOT NULL,
    header_names text[] NOT NULL,
    header_values text[] NOT NULL,
    body bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (principal, key)
)
"""


def create_idempotency_table(op: Any) -> None:
    """Make the table `idempotency_key`; `op` is alembic's.

    `op.drop_table("idempotency_key")` is the way back. What this function does never changes: a
    later version of the table would get a function of its own.
    """
    op.execute(TABLE.format(name="idempotency_key"))
    op.execute("CREATE INDEX idempotency_key_created_at ON idempotency_key (created_at)")
