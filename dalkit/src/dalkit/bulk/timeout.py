"""How long COPY may take."""

from sqlalchemy import func, select

from ..data.transaction import TransactionManager

#: Seconds. DATABASE_STATEMENT_TIMEOUT is for requests that do not wait for a client's upload.
TIMEOUT = 600.0


async def set_timeout(transaction: TransactionManager, seconds: float) -> None:
    """Let each statement of this transaction take so long."""
    milliseconds = str(int(seconds * 1000))
    await transaction.execute(select(func.set_config("statement_timeout", milliseconds, True)))
