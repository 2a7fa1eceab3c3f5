"""A cache in a SQLite file, which processes may share, or in memory."""

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from .cache_sql import FORMAT, SCHEMA, Dialect, Steps
from .codec import dumps
from .errors import CacheError

T = TypeVar("T")
#: "dalv": what tells our files from those of other programs.
APPLICATION_ID = 0x64616C76
#: Seconds to wait for another process's write, each of which takes milliseconds.
BUSY_TIMEOUT = 30.0
#: Rows that are read as one text.
MOST_IN_A_TEXT = 500
#: Reads of more rows than this run in a thread, so that the event loop goes on.
MOST_IN_THE_LOOP = 200


def texts(shape: int, keys: Sequence[int | str]) -> Steps[list[Any]]:
    """Times and values of these rows: those of neighbours of one time as one text.

    A row that comes alone costs Python three times what SQLite takes to join it to the others.
    """
    found: list[Any] = []
    is_number = set(map(type, keys)) == {int}
    wanted = sorted(keys) if is_number else keys
    for start in range(0, len(wanted), MOST_IN_A_TEXT):
        some = wanted[start : start + MOST_IN_A_TEXT]
        first, last = some[0], some[-1]
        if is_number and last - first < 2 * len(some):  # type: ignore[operator]
            source = "rows AS r WHERE r.shape = ?1 AND r.key BETWEEN ?2 AND ?3"
            values: tuple[Any, ...] = (shape, first, last)
        else:  # CROSS: in this order, a look at the index for each key
            source = "json_each(?2) AS e CROSS JOIN rows AS r ON r.shape = ?1 AND r.key = e.value"
            source, values = f"{source} WHERE true", (shape, dumps(some))
        source += " AND r.row IS NOT NULL"
        lines = yield f"SELECT min(r.at), max(r.at), group_concat(r.row) FROM {source}", values
        ((oldest, newest, text),) = lines
        if oldest != newest:
            found += yield f"SELECT r.at, r.row FROM {source}", values
        elif text:
            found.append((oldest, text))
    return found


DIALECT = Dialect(
    keys="json_each(?)",
    pairs="json_each(?list) AS e",
    first="json_extract(e.value, '$[0]')",
    second="json_extract(e.value, '$[1]')",
    members="json_each(s.members) AS m ON true",
    texts=texts,
)
_ROW = "SELECT at, row FROM rows WHERE shape = ?1 AND key = ?2"


class SqliteFile:
    """A file in WAL mode: reads never wait for writes, and writes are BEGIN IMMEDIATE and short.

    Short reads run in the event loop's thread: they take a fraction of what handing them to another
    thread costs. Long ones, and all writes, have a thread of their own.
    """

    dialect = DIALECT
    errors: tuple[type[BaseException], ...] = (sqlite3.Error, OSError)

    def __init__(self, path: Path) -> None:
        self._path = path
        self._threads: dict[str, tuple[ThreadPoolExecutor, sqlite3.Connection]] = {}
        self._reader: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Open or make the file; raises CacheError."""
        try:
            _make(self._path)
            # In a thread, as it may have to wait for another process.
            self._reader = await asyncio.to_thread(self._connect)
            await asyncio.to_thread(self._prepare, self._reader)
        except (sqlite3.Error, OSError) as error:
            raise CacheError(self.sentence(error)) from error

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("PRAGMA synchronous = NORMAL")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        prepare(connection, str(self._path))
        _hide(self._path)  # before WAL: what SQLite puts beside the file gets its mode
        connection.execute("PRAGMA journal_mode = WAL")

    async def close(self) -> None:
        """Close the connections and end the threads, once."""
        reader, self._reader = self._reader, None
        threads, self._threads = self._threads, {}
        for executor, connection in threads.values():
            await asyncio.get_running_loop().run_in_executor(executor, connection.close)
            executor.shutdown()
        if reader is not None:
            reader.close()

    def row_now(self, shape: int, key: int | str) -> list[tuple[float, str | None]]:
        """One row at most, read in this thread."""
        if self._reader is None:
            raise sqlite3.ProgrammingError("The cache is closed.")
        return self._reader.execute(_ROW, (shape, key)).fetchall()

    async def read(self, steps: Steps[T], size: int) -> T:
        """Run it here, or in a thread when it may take long."""
        if self._reader is None:
            raise sqlite3.ProgrammingError("The cache is closed.")
        if size <= MOST_IN_THE_LOOP:
            return snapshot(self._reader, steps)
        return await self._in_thread("reader", lambda connection: snapshot(connection, steps))

    async def write(self, steps: Callable[[], Steps[T]]) -> T:
        """Run it in one transaction, in a thread."""
        return await self._in_thread("writer", lambda connection: transaction(connection, steps))

    async def _in_thread(self, name: str, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._reader is None:
            raise sqlite3.ProgrammingError("The cache is closed.")
        if name not in self._threads:
            executor = ThreadPoolExecutor(1, thread_name_prefix=f"dalkit.view {name}")
            self._threads[name] = executor, self._connect()
        executor, connection = self._threads[name]
        # Shielded: nobody else may use the connection before it is done.
        future = asyncio.get_running_loop().run_in_executor(executor, partial(work, connection))
        return await asyncio.shield(future)

    def sentence(self, error: BaseException) -> str:
        """What is wrong with the file, and what to do."""
        return f"The cache {self._path} cannot be used ({_reason(error)}): {_remedy(error)}."


class SqliteMemory:
    """A cache in memory, which one view after the other, or several at once, may use."""

    dialect = DIALECT
    errors: tuple[type[BaseException], ...] = (sqlite3.Error,)

    def __init__(self) -> None:
        self._connection = sqlite3.connect(
            ":memory:", isolation_level=None, check_same_thread=False
        )
        self._lock = threading.Lock()
        prepare(self._connection, "in memory")

    def __del__(self) -> None:
        """Close it with the object."""
        self._connection.close()

    async def open(self) -> None:
        """It is open."""

    async def close(self) -> None:
        """It stays for the next view; it goes with the object."""

    def row_now(self, shape: int, key: int | str) -> list[tuple[float, str | None]]:
        """One row at most."""
        with self._lock:
            return self._connection.execute(_ROW, (shape, key)).fetchall()

    async def read(self, steps: Steps[T], size: int) -> T:
        """Run it here."""
        with self._lock:
            return run(self._connection, steps)

    async def write(self, steps: Callable[[], Steps[T]]) -> T:
        """Run it here, in one transaction."""
        with self._lock:
            return transaction(self._connection, steps)

    def sentence(self, error: BaseException) -> str:
        """What is wrong."""
        return f"The cache in memory cannot be used ({_reason(error)}): make another one."


def _make(path: Path) -> None:
    """Make the file when there is none; raises OSError unless it is writable."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _hide(path: Path) -> None:
    """Let only its owner read a file that is known to be a cache."""
    about = path.stat()
    if about.st_mode & 0o077 and about.st_uid == os.geteuid():
        path.chmod(0o600)


def prepare(connection: sqlite3.Connection, name: str) -> None:
    """Make the tables in an empty file; raises CacheError for one that is not ours."""
    if _is_ours(connection, name):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        if not _is_ours(connection, name):  # another process was faster
            for statement in SCHEMA:
                # A key is an integer or text; AUTOINCREMENT never gives a number again.
                words = {"counter": "INTEGER PRIMARY KEY AUTOINCREMENT", "key": ""}
                connection.execute(statement.format(**words, option=" WITHOUT ROWID"))
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {FORMAT}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk has ended it already
            connection.execute("ROLLBACK")
        raise


def _is_ours(connection: sqlite3.Connection, name: str) -> bool:
    """Whether the tables are there; raises CacheError when others are."""
    ((application,),) = connection.execute("PRAGMA application_id").fetchall()
    ((version,),) = connection.execute("PRAGMA user_version").fetchall()
    if (application, version) == (APPLICATION_ID, FORMAT):
        return True
    if application == APPLICATION_ID:
        raise CacheError(
            f"The cache {name} has format {version}, and this dalkit reads {FORMAT}: delete it."
        )
    ((tables,),) = connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
    if application or tables:
        raise CacheError(f"{name} is a file of another program: give the cache another path.")
    return False


def run(connection: sqlite3.Connection, steps: Steps[T]) -> T:
    """Run the statements of a generator, and return what it returns."""
    try:
        sql, values = next(steps)
        while True:
            sql, values = steps.send(connection.execute(sql, values).fetchall())
    except StopIteration as done:
        result: T = done.value
        return result


def snapshot(connection: sqlite3.Connection, steps: Steps[T]) -> T:
    """The same as of one moment; it never waits for who writes."""
    connection.execute("BEGIN")
    try:
        return run(connection, steps)
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def transaction(connection: sqlite3.Connection, steps: Callable[[], Steps[T]]) -> T:
    """The same in a transaction that has the right to write from its start.

    One that reads first and writes later is refused at once when another has written meanwhile,
    however long it would wait.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = run(connection, steps())
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return result


def _reason(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error)


def _remedy(error: BaseException) -> str:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith("SQLITE_FULL") or getattr(error, "errno", None) == 28:
        return "make room on the disk"
    if isinstance(error, OSError) or name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN")):
        return "give a path that this user may write"
    return "delete it, and it is filled again"
