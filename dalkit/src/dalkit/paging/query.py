"""Query models: the parameters of a list endpoint, declared as the fields of a pydantic model.

`Annotated[BookQuery, Query()]` makes every field a documented parameter; any other is a 422.
"""

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import ARRAY, BindParameter, ColumnElement, FromClause, Table, any_, bindparam

from ..data.statements import column, plain, unlimited
from ..types import Filter, Text
from .keyset import Key

#: Far beyond what a client pages to, and well within PostgreSQL's bigint.
LAST_OFFSET = 2**31 - 1


class Operator(NamedTuple):
    """How one operator becomes a condition, and its value a parameter."""

    condition: Callable[[ColumnElement[Any], BindParameter[Any]], ColumnElement[bool]]
    #: Completes "title ..." in the OpenAPI document.
    meaning: str
    #: Of LIKE, for the operators of text.
    pattern: str = ""
    is_list: bool = False

    def parameter(self, value: Any) -> Any:
        """The value of the bind parameter; the wildcards of LIKE are literals."""
        if self.pattern:
            escaped = value.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
            return self.pattern.format(escaped)
        return [plain(one) for one in value] if self.is_list else plain(value)


OPERATORS = {
    "eq": Operator(lambda c, v: c == v, "equals this"),
    # NULL is another value too: `<>` alone would leave those rows out.
    "ne": Operator(lambda c, v: c.is_distinct_from(v), "is anything else"),
    "lt": Operator(lambda c, v: c < v, "is less than this"),
    "le": Operator(lambda c, v: c <= v, "is this or less"),
    "gt": Operator(lambda c, v: c > v, "is greater than this"),
    "ge": Operator(lambda c, v: c >= v, "is this or greater"),
    "in": Operator(
        lambda c, v: c == any_(v), "equals one of these; repeat the parameter", is_list=True
    ),
    "contains": Operator(lambda c, v: c.like(v), "contains this", "%{}%"),
    "icontains": Operator(lambda c, v: c.ilike(v), "contains this in any case", "%{}%"),
    "startswith": Operator(lambda c, v: c.like(v), "starts with this", "{}%"),
    "isnull": Operator(lambda c, _: c.is_(None), "is absent (true) or present (false)"),
}


class DeclaredFilter(NamedTuple):
    """A field `column__op` of a query model; `isnull` with the value false is negated."""

    field: str
    column: str
    op: str
    negated: bool = False

    @classmethod
    def of(cls, field: str) -> "DeclaredFilter | None":
        """The filter that a field declares, None for another kind of field."""
        column, separator, op = field.rpartition("__")
        if not separator or not column:
            return None
        if op not in OPERATORS:
            raise TypeError(
                f"Field {field!r}: no operator {op!r}. There are: {', '.join(OPERATORS)}."
            )
        return cls(field, column, op)

    def condition(self, source: FromClause) -> ColumnElement[bool]:
        """The condition; its bind parameter has the field's name. Raises UnknownColumn."""
        found, operator = column(source, self.column), OPERATORS[self.op]
        type_ = unlimited(found.type)
        bound = bindparam(self.field, type_=ARRAY(type_) if operator.is_list else type_)
        condition = operator.condition(found, bound)
        return ~condition if self.negated else condition


class FilterModel(BaseModel):
    """Filters and ordering. Declare filters as `column__op`, and which orderings there are:

        order_by: Literal["title", "-published", "-published,title"] = "title"

    A filter applies when its parameter is given: 0, False and "" are values, None is not. The
    primary key of the table of `entity` completes the ordering; without an entity name unique
    columns in `tie_break`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    entity: ClassVar[type[BaseModel] | None] = None
    tie_break: ClassVar[tuple[str, ...]] = ()
    filters: ClassVar[tuple[DeclaredFilter, ...]] = ()

    limit: Annotated[int, Field(ge=1, le=100, description="Most results on a page")] = 20

    def __init_subclass__(cls, entity: type[BaseModel] | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.entity = entity or cls.entity

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        cls.filters = tuple(filter(None, map(DeclaredFilter.of, cls.model_fields)))
        for declared in cls.filters:
            field, meaning = cls.model_fields[declared.field], OPERATORS[declared.op].meaning
            field.description = field.description or f"{declared.column} {meaning}"
        if ordering := cls.model_fields.get("order_by"):
            ordering.description = ordering.description or "Ordering; - is descending"

    @classmethod
    def restrict(cls, columns: Any) -> ColumnElement[bool] | None:
        """A condition of every request, `columns.deleted_at.is_(None)` for example."""
        return None

    def given(self) -> tuple[tuple[DeclaredFilter, ...], dict[str, Any]]:
        """The filters whose parameters are given, and the bind parameters of their conditions."""
        filters, parameters = [], {}
        for declared in self.filters:
            value = getattr(self, declared.field)
            if value is None:
                continue
            if declared.op == "isnull":
                filters.append(declared._replace(negated=not value))
            else:
                filters.append(declared)
                parameters[declared.field] = OPERATORS[declared.op].parameter(value)
        return tuple(filters), parameters

    @classmethod
    def orderings(cls) -> tuple[str, ...]:
        """The values of `order_by`; only the tie-break when it is not declared."""
        field = cls.model_fields.get("order_by")
        return get_args(field.annotation) if field else ("",)

    @classmethod
    def ordering(cls, source: FromClause, order_by: str) -> list[Key]:
        """The keys to sort by, the tie-break last and in the direction of the key before it.

        Raises TypeError when there is neither a primary key nor a `tie_break`.
        """
        unique = cls.tie_break
        if not unique and isinstance(source, Table):
            unique = tuple(source.primary_key.columns.keys())
        if not unique:
            raise TypeError(f"{cls.__name__} needs tie_break = ('id',), or other unique columns.")
        named = [(one.removeprefix("-"), one.startswith("-")) for one in order_by.split(",") if one]
        last = bool(named) and named[-1][1]
        named += [(name, last) for name in unique if name not in dict(named)]
        return [Key(column(source, name), name, descending) for name, descending in named]


class QueryModel(FilterModel):
    """A list endpoint with pages by offset."""

    offset: Annotated[int, Field(ge=0, le=LAST_OFFSET, description="Results to skip")] = 0
    count: Annotated[
        Literal["exact", "none"],
        Field(description="none leaves total_count out, which saves a count of all rows"),
    ] = "exact"


class KeysetQueryModel(FilterModel):
    """A list endpoint with pages by cursor: as fast on the last page as on the first.

    Rows that are inserted meanwhile neither repeat nor hide others. Declare `order_by`.
    """

    cursor: Annotated[
        Filter[Text],
        Field(
            description="Where the page starts, from next_url or prev_url",
            json_schema_extra={"format": "cursor"},
        ),
    ] = None
    count: Annotated[
        Literal["exact", "none"],
        Field(description="exact adds total_count, which costs a count of all rows"),
    ] = "none"
