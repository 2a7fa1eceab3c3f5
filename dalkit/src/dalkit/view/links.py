"""Finds the foreign key behind each relation, when the view opens."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from .errors import ViewMismatch
from .objects import Relation, ViewClass, relation_target
from .tables import ForeignKey, TableInfo

Tables = Mapping[str, TableInfo]


@dataclass(frozen=True)
class Link:
    """A relation and the columns that it goes by.

    `own` are fields of the owner; the objects are those of `target` whose `matched` columns have
    the same values, or that a row of the table `through` with these values refers to by `joined`.
    """

    relation: Relation
    owner: ViewClass
    target: ViewClass
    own: tuple[str, ...]
    matched: tuple[str, ...]
    through: TableInfo | None = None
    joined: tuple[tuple[str, str], ...] = ()
    is_by_key: bool = False  # `matched` is the key of the target
    may_be_none: bool = True

    @property
    def name(self) -> str:
        """What a cache calls it; views that declare it under other names share it."""
        if self.through is None:
            return ",".join(self.matched)
        out = ",".join(there for there, _ in self.joined)
        return f"{self.through.full_name}.{','.join(self.matched)}>{out}"


def find_links(entities: Mapping[str, ViewClass], tables: Tables) -> dict[ViewClass, list[Link]]:
    """The links of all relations of these classes; `tables` are by the name that a class uses.

    Raises ViewMismatch with one line for each relation that no foreign key supports.
    """
    problems: list[str] = []
    found: dict[ViewClass, list[Link]] = {}
    for owner in entities.values():
        links = found[owner] = []
        for relation in owner.relations.values():
            try:
                links.append(_link(relation, owner, entities, tables))
            except (TypeError, LookupError, NameError) as error:
                problems.append(f"{owner.__name__}.{relation.name}: {error}")
    if problems:
        raise ViewMismatch("\n".join(problems))
    return found


def hints_of(entity: type, entities: Mapping[str, ViewClass]) -> dict[str, Any]:
    """The annotations of a class, which may name the classes of its view."""
    names: dict[str, Any] = {one.__name__: one for one in entities.values()} | dict(entities)
    return get_type_hints(entity, localns=names)


def through_tables(entities: Iterable[ViewClass]) -> Iterator[str]:
    """The tables that relations name, which may be no class's own."""
    for entity in entities:
        for relation in entity.relations.values():
            if relation.table:
                yield relation.table


def _link(
    relation: Relation, owner: ViewClass, entities: Mapping[str, ViewClass], tables: Tables
) -> Link:
    hint = hints_of(relation.owner, entities)[relation.name]
    named, may_be_none = relation_target(hint)
    target = _target(named, entities)
    link = (_reverse if relation.table else _forward)(relation, owner, target, tables)
    for field in link.own:
        if field not in owner.fields:
            raise LookupError(f"declare the field {field} in {owner.__name__}: it goes by it.")
    if not relation.is_many and link.may_be_none and not may_be_none:
        name = target.__name__
        raise TypeError(f"there may be none: annotate it One[{name} | None].")
    return link


def _target(named: Any, entities: Mapping[str, ViewClass]) -> ViewClass:
    """The class of the view that an annotation names, or the one that is derived from it."""
    known = list(entities.values())
    if named in known:
        return known[known.index(named)]
    derived = [one for one in known if named in one.__mro__]
    if len(derived) != 1:
        raise LookupError(f"the view has no class {getattr(named, '__name__', named)}.")
    return derived[0]


def _forward(relation: Relation, owner: ViewClass, target: ViewClass, tables: Tables) -> Link:
    """From the table that has the foreign key to the row that it refers to."""
    if relation.is_many:
        raise TypeError(f'name the table, too: many("table.{relation.path}").')
    own, there = _table(owner, tables), _table(target, tables)
    key = _foreign_key(own, relation.columns, there)
    columns = [own.column(name) for name in key.columns]
    nullable = not own.is_view and any(column is None or column.nullable for column in columns)
    pairs = dict(zip(key.target, key.columns, strict=True))
    is_by_key = set(pairs) == set(key_of(target, there))
    matched = key_of(target, there) if is_by_key else key.target
    return Link(
        relation,
        owner,
        target,
        own=tuple(pairs[name] for name in matched),
        matched=matched,
        is_by_key=is_by_key,
        may_be_none=nullable,
    )


def _reverse(relation: Relation, owner: ViewClass, target: ViewClass, tables: Tables) -> Link:
    """From a row to those that refer to it, or that a table of pairs connects with it."""
    own, there, named = _table(owner, tables), _table(target, tables), tables[relation.table]
    key = _foreign_key(named, relation.columns, own)
    if relation.to is not None:
        out = _foreign_key(named, relation.to, there)
        joined = tuple(zip(out.columns, out.target, strict=True))
        return Link(relation, owner, target, key.target, key.columns, named, joined)
    if named != there:
        name = target.__name__
        raise LookupError(
            f"{relation.table} is not the table of {name}: say which columns do, to=..."
        )
    is_unique = any(set(one) <= set(key.columns) for one in (*there.unique, there.key) if one)
    if not relation.is_many and not is_unique:
        raise LookupError(f"{relation.path} is not unique: there may be several, use many().")
    return Link(relation, owner, target, key.target, key.columns)


def _foreign_key(table: TableInfo, columns: tuple[str, ...], target: TableInfo) -> ForeignKey:
    for key in table.foreign_keys:
        if key.columns == columns and key.table == target.full_name:
            return key
    known = ", ".join(f"{','.join(one.columns)} -> {one.table}" for one in table.foreign_keys)
    raise LookupError(
        f"no foreign key leads from {table.full_name}.{','.join(columns)} to {target.full_name}. "
        f"Foreign keys of {table.full_name}: {known or 'none'}."
    )


def _table(entity: ViewClass, tables: Tables) -> TableInfo:
    return tables[entity.table or ""]


def key_of(entity: ViewClass, table: TableInfo) -> tuple[str, ...]:
    """The columns of the key of a class: the declared one, or the primary key."""
    return entity.declared_key or table.key
