"""The operators of query models: what `field__op` means as a condition."""

from collections.abc import Callable
from typing import Any, NamedTuple

from sqlalchemy import ARRAY, BindParameter, ColumnElement, any_, bindparam

from ..data.columns import plain, unlimited

Condition = Callable[[ColumnElement[Any], BindParameter[Any]], ColumnElement[bool]]


def _escaped(value: str) -> str:
    """The value with the wildcards of LIKE as literals."""
    return value.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")


class Operator(NamedTuple):
    """How one operator becomes a condition, and its value a parameter."""

    condition: Condition
    #: Completes "title ..." in the OpenAPI document.
    meaning: str
    value: Callable[[Any], Any] = plain
    is_text: bool = False
    is_list: bool = False


OPERATORS = {
    "eq": Operator(lambda c, v: c == v, "equals this"),
    # NULL is another value too: `<>` alone would leave those rows out.
    "ne": Operator(lambda c, v: c.is_distinct_from(v), "is anything else"),
    "lt": Operator(lambda c, v: c < v, "is less than this"),
    "le": Operator(lambda c, v: c <= v, "is this or less"),
    "gt": Operator(lambda c, v: c > v, "is greater than this"),
    "ge": Operator(lambda c, v: c >= v, "is this or greater"),
    "in": Operator(
        lambda c, v: c == any_(v),
        "equals one of these; repeat the parameter",
        lambda values: [plain(value) for value in values],
        is_list=True,
    ),
    "contains": Operator(
        lambda c, v: c.like(v), "contains this", lambda v: f"%{_escaped(v)}%", is_text=True
    ),
    "icontains": Operator(
        lambda c, v: c.ilike(v),
        "contains this in any case",
        lambda v: f"%{_escaped(v)}%",
        is_text=True,
    ),
    "startswith": Operator(
        lambda c, v: c.like(v), "starts with this", lambda v: f"{_escaped(v)}%", is_text=True
    ),
}


class DeclaredFilter(NamedTuple):
    """A field `column__op` of a query model."""

    field: str
    column: str
    op: str

    @classmethod
    def of(cls, field: str) -> "DeclaredFilter | None":
        """The filter that a field declares, None for another kind of field."""
        column, separator, op = field.rpartition("__")
        if not separator or not column:
            return None
        if op != "isnull" and op not in OPERATORS:
            raise TypeError(
                f"Field {field!r}: no operator {op!r}. There are: {', '.join(OPERATORS)}, isnull."
            )
        return cls(field, column, op)

    @property
    def description(self) -> str:
        """What the parameter does, for the OpenAPI document."""
        meaning = "is absent (true) or present (false)"
        return f"{self.column} {OPERATORS[self.op].meaning if self.op != 'isnull' else meaning}"

    def condition(self, column: ColumnElement[Any], value: Any) -> ColumnElement[bool]:
        """The condition; its bind parameter has the field's name. Only isnull needs the value."""
        if self.op == "isnull":
            return column.is_(None) if value else column.is_not(None)
        operator = OPERATORS[self.op]
        item_type = unlimited(column.type)
        type_ = ARRAY(item_type) if operator.is_list else item_type
        return operator.condition(column, bindparam(self.field, type_=type_))

    def parameter(self, value: Any) -> Any:
        """The bind parameter's value."""
        return OPERATORS[self.op].value(value)
