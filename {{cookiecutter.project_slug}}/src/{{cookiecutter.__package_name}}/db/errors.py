"""What the data toolkit raises, apart from the driver's own errors."""

from collections.abc import Iterable
from difflib import get_close_matches


class NotReflected(RuntimeError):
    """The tables are not known: the database was not reachable, or `reflect()` was not called."""

    def __init__(self, wanted: str) -> None:
        super().__init__(
            f"{wanted} was asked for before the database was reflected. "
            "Await DataAccessLayer.reflect(engine) first, or wait until /readyz answers 200."
        )


class DatabaseUnreachable(OSError):
    """No connection could be made: refused, timed out, or the host name is not known."""


class UnknownTable(LookupError):
    """No reflected table or view has this name."""

    def __init__(self, name: str, known: Iterable[str], schemas: Iterable[str]) -> None:
        message = f"No table {name!r}."
        matches = get_close_matches(name, list(known), n=3)
        if matches:
            message += f" Did you mean {' or '.join(map(repr, matches))}?"
        super().__init__(f"{message} Reflected schemas: {', '.join(schemas)}.")


class AbortedTransaction(RuntimeError):
    """A statement failed, its error was swallowed, and nothing of the transaction was saved.

    PostgreSQL answers COMMIT of a failed transaction with the command tag ROLLBACK and no error.
    """

    def __init__(self) -> None:
        super().__init__(
            "An earlier statement of this transaction failed and its error was swallowed; "
            "nothing was saved. Guard a statement that may fail with "
            "`async with transaction.savepoint():`."
        )
