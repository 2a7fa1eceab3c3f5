"""Query models: the parameters of a list endpoint, declared as the fields of a pydantic model.

`Annotated[BookQuery, Query()]` makes every field a documented parameter; any other is a 422.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import ColumnElement, FromClause, Table

from ..data.columns import column
from ..types import Filter, Text
from .filters import DeclaredFilter
from .ordering import Key

#: Far beyond what a client pages to, and well within PostgreSQL's bigint.
LAST_OFFSET = 2**31 - 1


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
            field = cls.model_fields[declared.field]
            field.description = field.description or declared.description
        if ordering := cls.model_fields.get("order_by"):
            ordering.description = ordering.description or "Ordering; - is descending"

    @classmethod
    def restrict(cls, columns: Any) -> ColumnElement[bool] | None:
        """A condition of every request, `columns.deleted_at.is_(None)` for example."""
        return None

    def given(self) -> dict[DeclaredFilter, Any]:
        """The filters whose parameters are given, and their values."""
        values = ((declared, getattr(self, declared.field)) for declared in self.filters)
        return {declared: value for declared, value in values if value is not None}

    @classmethod
    def conditions(
        cls, source: FromClause, given: Mapping[DeclaredFilter, Any]
    ) -> list[ColumnElement[bool]]:
        """The conditions of `restrict` and of the filters; raises UnknownColumn."""
        always = cls.restrict(source.c)
        filtered = [f.condition(column(source, f.column), value) for f, value in given.items()]
        return filtered if always is None else [always, *filtered]

    def parameters(self, given: Mapping[DeclaredFilter, Any]) -> dict[str, Any]:
        """The bind parameters of `conditions`."""
        return {f.field: f.parameter(value) for f, value in given.items() if f.op != "isnull"}

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
        keys = [Key.of(source, part) for part in order_by.split(",") if part]
        descending = bool(keys) and keys[-1].descending
        named = {key.name for key in keys}
        return keys + [Key(source.c[n], n, descending) for n in unique if n not in named]


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
