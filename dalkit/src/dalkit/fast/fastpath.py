"""The compiled path: statements of SQLAlchemy Core, run on asyncpg without SQLAlchemy in between.

SQLAlchemy compiles a statement once, to a plan: its SQL, where each value comes from, and what its
types do to values. After that a statement costs what asyncpg costs. What a plan cannot express runs
through SQLAlchemy, slower and with the same result: `Plans.call` returns None. So does everything
with `DataAccessLayer(fast_path=False)`, DATABASE_FAST_PATH=false.

Private to SQLAlchemy and used here: `_generate_cache_key`, `_cache_key_bind_match`,
`_propagate_attrs`, `_result_columns`, `_bind_processors`, `_cached_result_processor`,
`_for_update_arg`.
tests/fast/test_fastpath.py is the contract; pyproject.toml bounds the version.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import asyncpg
from asyncpg.exceptions import InvalidCachedStatementError
from sqlalchemy import BindParameter, CompoundSelect, Delete, Dialect, Insert, Select, Update
from sqlalchemy.exc import CompileError
from sqlalchemy.sql import visitors
from sqlalchemy.sql.compiler import WARN_LINTING, SQLCompiler
from sqlalchemy.sql.elements import ColumnClause, TextClause
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import TextualSelect
from sqlalchemy.types import Float, Numeric, TypeDecorator

Row = dict[str, Any]
Processor = Callable[[Any], Any] | None

#: Plans kept; the one that was used least recently goes first.
MOST_PLANS = 500
#: The classes of values by the oid of their type, and the types that convert them accordingly.
NUMBERS = {20: int, 21: int, 23: int, 700: float, 701: float, 1700: Decimal}
NUMERIC = (Numeric, Float, TypeDecorator)
EXPRESSIBLE = (Select, CompoundSelect, Insert, Update, Delete)
#: Functions that neither write nor depend on the transaction they run in.
PURE_FUNCTIONS = frozenset(
    {"array_agg", "avg", "bool_and", "bool_or", "coalesce", "count", "greatest", "json_agg"}
    | {"jsonb_agg", "least", "length", "lower", "max", "min", "string_agg", "sum", "upper"}
)


class Bind(NamedTuple):
    """Where a value comes from: the parameters by `key`, or else the statement itself."""

    key: str
    position: int | None  # among the statement's own values; None: it has none
    process: Processor


class Plan:
    """A compiled statement; only its values differ from call to call."""

    def __init__(self, statement: Any, compiled: SQLCompiler, binds: tuple[Bind, ...]) -> None:
        self.sql = str(compiled)
        self.is_plain_read = is_plain_read(statement)
        self.returns_rows = bool(compiled._result_columns)
        self.is_usable = True
        self._binds = binds
        self._keys = frozenset(bind.key for bind in binds)
        self._dialect = compiled.dialect
        self._columns = compiled._result_columns
        self._cells: list[tuple[str, Processor]] = []  # empty: rows are what asyncpg makes of them
        self._numbers: list[tuple[int, type]] = []  # where processors depend on PostgreSQL's type
        self.is_learned = False

    def values(
        self, given: Mapping[str, Any], own: Sequence[BindParameter[Any]]
    ) -> list[Any] | None:
        """The values of the SQL's placeholders; None when one is missing or a name is not known."""
        if not given.keys() <= self._keys:
            return None
        values = []
        for key, position, process in self._binds:
            if key in given:
                value = given[key]
            elif position is None or own[position].required:
                return None
            else:
                value = own[position].effective_value
            values.append(value if process is None else process(value))
        return values

    async def fetch(self, driver: asyncpg.Connection, values: Sequence[Any]) -> list[Row] | None:
        """All rows; None, with nothing run, when two columns of the result have one name.

        Raises what asyncpg raises.
        """
        with _Learned(self):
            if not self.is_learned:
                await self._learn(driver)
            if not self.is_usable:
                return None
            records = await driver.fetch(self.sql, *values)
        return await self._rows(driver, records)

    async def open(
        self, driver: asyncpg.Connection, values: Sequence[Any]
    ) -> asyncpg.cursor.Cursor | None:
        """A cursor for `read`, in a transaction; None where `fetch` gives None."""
        with _Learned(self):
            if not self.is_learned:
                await self._learn(driver)
            return await driver.cursor(self.sql, *values) if self.is_usable else None

    async def read(
        self, driver: asyncpg.Connection, cursor: asyncpg.cursor.Cursor, most: int
    ) -> list[Row]:
        """The next rows, at most so many; none at the end."""
        with _Learned(self):
            records = await cursor.fetch(most)
            rows = await self._rows(driver, records)
            if rows is None:  # the plan is everybody's: another one has learned so meanwhile
                raise InvalidCachedStatementError("The columns have changed while they were read.")
        return rows

    async def _rows(
        self, driver: asyncpg.Connection, records: list[asyncpg.Record]
    ) -> list[Row] | None:
        if records and self._numbers and self._has_other_numbers(records):
            await self._learn(driver)  # outside of BEGIN asyncpg meets that error and tries again
        if not self.is_usable:
            return None
        if not self._cells:
            return [dict(record.items()) for record in records]
        return [
            {
                name: value if process is None else process(value)
                for (name, process), value in zip(self._cells, record, strict=True)
            }
            for record in records
        ]

    async def _learn(self, driver: asyncpg.Connection) -> None:
        """Ask PostgreSQL once for the types of the result: result processors depend on them."""
        attributes = (await driver.prepare(self.sql)).get_attributes()
        names = [str(column.keyname) for column in self._columns]
        self.is_usable = len(attributes) == len(names) == len(set(names))
        if self.is_usable:
            processors = [
                column.type._cached_result_processor(self._dialect, attribute.type.oid)
                for column, attribute in zip(self._columns, attributes, strict=True)
            ]
            as_they_are = not any(processors) and names == [one.name for one in attributes]
            self._cells = [] if as_they_are else list(zip(names, processors, strict=True))
            self._numbers = [
                (i, NUMBERS[attribute.type.oid])
                for i, attribute in enumerate(attributes)
                if attribute.type.oid in NUMBERS and isinstance(self._columns[i].type, NUMERIC)
            ]
        self.is_learned = True

    def _has_other_numbers(self, records: Sequence[asyncpg.Record]) -> bool:
        """Whether a column of numbers has become one of another type: the first value tells."""
        for i, kind in self._numbers:
            first = records[0][i]
            if first is None:
                first = next((one[i] for one in records if one[i] is not None), None)
            if type(first) is not kind and first is not None:
                return True
        return False


class _Learned:
    """Forgets what was learned of a plan's columns when PostgreSQL says that they have changed.

    A class, as a generator costs 1 us more.
    """

    __slots__ = ("_plan",)

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, InvalidCachedStatementError):
            self._plan.is_learned = False  # a column may have another type now


class Call(NamedTuple):
    """A plan and the values to run it with."""

    plan: Plan
    values: list[Any]


class Known(NamedTuple):
    """What is known of one statement object: it need not be looked at again."""

    columns: tuple[str, ...]
    plan: Plan | None
    own: Sequence[BindParameter[Any]]


class Plans:
    """The plans of the statements that were run.

    They are found by SQLAlchemy's cache key, which many statement objects may share, and faster by
    the statement itself as long as somebody keeps it.
    """

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self._plans: OrderedDict[Any, Plan | None] = OrderedDict()
        self._statements: WeakKeyDictionary[Any, Known] = WeakKeyDictionary()

    def __len__(self) -> int:
        return len(self._plans)

    def call(self, statement: Any, parameters: object) -> Call | None:
        """How to run this statement; None when SQLAlchemy has to."""
        if not isinstance(statement, EXPRESSIBLE):
            return None
        if parameters is None:
            parameters = {}
        elif not isinstance(parameters, Mapping):
            return None
        # The names of the parameters of an INSERT or UPDATE are columns that it writes.
        columns = tuple(parameters) if statement.is_dml else ()
        known = self._statements.get(statement)
        if known is None or known.columns != columns:
            known = self._known(statement, columns)
        plan = known.plan
        if plan is None or not plan.is_usable:
            return None
        try:
            values = plan.values(parameters, known.own)
        except Exception:  # noqa: BLE001 - SQLAlchemy raises it again, as a StatementError
            return None
        return None if values is None else Call(plan, values)

    def _known(self, statement: Any, columns: tuple[str, ...]) -> "Known":
        """The plan of a statement that was not met before, or not with these columns."""
        # The ORM's, and those that ask for something special of their execution, are not ours.
        is_special = statement._propagate_attrs or statement.get_execution_options()
        key = None if is_special else statement._generate_cache_key()
        if key is None or key.params:
            known = Known(columns, None, ())
        else:
            known = Known(columns, self._plan(statement, key, columns), key.bindparams)
        self._statements[statement] = known
        return known

    def _plan(self, statement: Any, key: Any, columns: tuple[str, ...]) -> Plan | None:
        kept = (key.key, columns)
        if kept not in self._plans:
            self._plans[kept] = self._compiled(statement, key, columns)
            if len(self._plans) > MOST_PLANS:
                self._plans.popitem(last=False)
        self._plans.move_to_end(kept)
        return self._plans[kept]

    def _compiled(self, statement: Any, key: Any, columns: tuple[str, ...]) -> Plan | None:
        linting = self.dialect.compiler_linting | WARN_LINTING
        try:
            compiled = statement.compile(
                dialect=self.dialect, cache_key=key, column_keys=list(columns), linting=linting
            )
        except CompileError:  # SQLAlchemy will raise it where it always does
            return None
        # An IN list makes the SQL vary with the values. Otherwise SQLAlchemy does something to the
        # parameters, has defaults in Python, or adds a RETURNING of its own.
        varies = (
            compiled.post_compile_params or compiled.literal_execute_params or compiled.prefetch
        )
        differs = compiled.escaped_bind_names or compiled.implicit_returning
        if varies or differs:
            return None
        return Plan(statement, compiled, tuple(_binds(compiled, key.bindparams)))


def _binds(compiled: SQLCompiler, own: Sequence[BindParameter[Any]]) -> Iterator[Bind]:
    matches: Any = compiled._cache_key_bind_match
    positions = {bind: i for i, one in enumerate(own) for bind in matches[0][one]}
    for name in compiled.positiontup or ():
        bind = compiled.binds[name]
        position = None if bind.required else positions.get(bind)
        process: Any = compiled._bind_processors.get(name)
        yield Bind(bind.key, position, process)


def is_plain_read(statement: object) -> bool:
    """True for a SELECT that takes no lock, has no side effect and means the same outside BEGIN.

    Under READ COMMITTED every statement has a snapshot of its own, in a transaction or not.
    When in doubt the answer is False, which costs a round trip and nothing else.
    """
    return isinstance(statement, Select) and all(map(_is_plain, visitors.iterate(statement)))


def _is_plain(element: Any) -> bool:
    if isinstance(element, TextClause | TextualSelect) or getattr(element, "is_dml", False):
        return False
    if isinstance(element, Select):
        return element._for_update_arg is None
    if isinstance(element, FunctionElement):
        return getattr(element, "name", "").lower() in PURE_FUNCTIONS
    if isinstance(element, ColumnClause):
        return not element.is_literal or element.name == "*"
    return True
