"""How long COPY may take."""

from ..data.transaction import TransactionManager

#: Seconds. DATABASE_STATEMENT_TIMEOUT is for requests that do not wait for a client's upload.
TIMEOUT = 600.0


async def set_timeout(transaction: TransactionManager, seconds: float) -> None:
    """Let each statement of this transaction take so long."""
    await transaction.set_statement_timeout(seconds)
