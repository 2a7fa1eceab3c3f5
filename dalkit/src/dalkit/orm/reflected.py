"""Models over reflected tables: mapped when a DataAccessLayer reflects, and each time it does.

A data access layer replaces its tables when it reflects again. What a model declares is kept aside
as it was written, so that it can be mapped anew. A model belongs to the first data access layer
that has its table, as long as that lives.

Private to SQLAlchemy and used here: `_init_args` of a relationship, which has its `secondary`, and
what a class manager consists of. tests/orm/test_reflected.py is the contract; pyproject.toml bounds
the version.
"""

import logging
from contextlib import suppress
from copy import copy
from threading import RLock
from typing import Any
from weakref import WeakKeyDictionary, ref

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, RelationshipProperty, registry
from sqlalchemy.orm.attributes import opt_manager_of_class
from sqlalchemy.orm.instrumentation import unregister_class
from sqlalchemy.orm.interfaces import MapperProperty
from sqlalchemy.util import get_annotations

from ..data.dal import MODEL_MAPPERS, DataAccessLayer
from ..errors import NotReflected, UnknownColumn, UnknownTable
from ..reflection import Reflection

logger = logging.getLogger(__name__)


class Declared:
    """What a class says of its model, and what has become of it."""

    def __init__(self, model: type, columns: frozenset[str]) -> None:
        own = vars(model)
        self.model: Any = model
        self.table_name: str | None = own.get("__tablename__")
        self.properties = {k: v for k, v in own.items() if isinstance(v, MapperProperty)}
        #: Columns that are named for a type checker; they come from the table.
        self.columns = columns
        self.owner: Any = lambda: None
        #: What it is mapped on.
        self.reflection: Reflection | None = None
        #: Why it is not mapped; empty when it is, or when nobody has tried.
        self.problem = ""

    def map(self, reflection: Reflection) -> None:
        """Map it; `problem` tells why that could not be done."""
        self.reflection, self.problem = None, ""
        if "_sa_class_manager" in vars(self.model):  # from the mapping of the class above it
            unregister_class(self.model)  # type: ignore[no-untyped-call]
        _set(self.model, **{name: _fresh(it) for name, it in self.properties.items()})
        try:
            if self.table_name is not None:
                self._use_table(reflection)
            _registry.map_declaratively(self.model)
            self.reflection = reflection
        except (SQLAlchemyError, UnknownTable, UnknownColumn) as error:
            self.problem = str(error)
            logger.warning("The model %s is not mapped: %s", self.model.__name__, error)

    def _use_table(self, reflection: Reflection) -> None:
        table = reflection.get_table(str(self.table_name))
        for name in sorted(self.columns - set(table.columns.keys())):
            raise UnknownColumn(name, table)
        for it in self.properties.values():
            if isinstance(it, RelationshipProperty):
                secondary = it._init_args.secondary.argument
                if isinstance(secondary, str):  # SQLAlchemy looks for it in `metadata`
                    reflection.build([secondary])
        _set(self.model, __table__=table, metadata=table.metadata)


_models: dict[type, Declared] = {}
_registry = registry()
_lock = RLock()
#: What each data access layer had reflected, and how many models there were, when it last asked.
_seen: WeakKeyDictionary[DataAccessLayer, tuple[Reflection, int]] = WeakKeyDictionary()


def reflected_base(base: type[DeclarativeBase]) -> type[DeclarativeBase]:
    """Return the subclass of `base` that models of reflected tables are derived from."""

    class reflected(base):  # type: ignore[misc, valid-type] # noqa: N801 - it is Base.reflected
        __abstract__ = True
        __columns__: frozenset[str] = frozenset()

        def __init_subclass__(cls, **options: Any) -> None:
            # Not DeclarativeBase's own, which would map it now.
            super(DeclarativeBase, cls).__init_subclass__(**options)  # type: ignore[misc]
            columns = cls.__columns__ | _take_typed_columns(cls)
            _set(cls, __columns__=columns)
            if "__abstract__" not in vars(cls):
                _models[cls] = Declared(cls, columns)

        def __init__(self, **values: Any) -> None:
            if "__mapper__" not in vars(type(self)):
                raise NotReflected(f"The model {type(self).__name__}")
            super().__init__(**values)

    return reflected


def is_reflected(model: type) -> bool:
    """Whether it is a model of a reflected table."""
    return model in _models


def problem_of(model: type, dal: DataAccessLayer) -> str:
    """Why a model of a reflected table is not mapped; empty when it is. Raises NotReflected."""
    dal.reflection(f"The model {model.__name__}")
    map_models(dal)
    return _models[model].problem


def map_models(dal: DataAccessLayer) -> None:
    """Map the models that are not mapped yet on what this data access layer has reflected."""
    if not _models or not dal.is_reflected:
        return
    reflection = dal.reflection("A model")
    if _seen.get(dal) == (reflection, len(_models)):
        return
    with _lock:
        mine = [one for one in _models.values() if one.owner() in (None, dal)]
        is_stale = any(one.reflection not in (None, reflection) for one in mine)
        # There is no way to dispose of one model: those of others are mapped anew, too.
        before: dict[type, Any] = {model: opt_manager_of_class(model) for model in _models}
        others = _dispose_of_all_but(mine) if is_stale else {}
        for one in mine:
            if one.reflection is not reflection or is_stale:
                one.map(reflection)
                one.owner = ref(dal) if one.reflection else lambda: None
        for one, tables in others.items():
            one.map(tables)
        if is_stale:
            with suppress(SQLAlchemyError):  # raised again when a model is used
                _registry.configure(cascade=True)
            _hand_over(before)
        _seen[dal] = reflection, len(_models)


def _dispose_of_all_but(mine: list[Declared]) -> dict[Declared, Reflection]:
    """Dispose of all models, and return the others and what they were mapped on."""
    _registry.dispose()
    for one in _models.values():
        if "__mapper__" in vars(one.model):
            type.__delattr__(one.model, "__mapper__")
    return {o: o.reflection for o in _models.values() if o not in mine and o.reflection}


def _hand_over(before: dict[type, Any]) -> None:
    """Let the objects that are in use go on with the new mapping: they know the manager of old."""
    for model, old in before.items():
        new: Any = opt_manager_of_class(model)
        if old is not None and new is not None and new is not old:
            old.__dict__.update(new.__dict__)
            old.clear()
            old.update(new)


def _take_typed_columns(model: type) -> frozenset[str]:
    """The names that are only annotated, with Mapped; SQLAlchemy would make columns of them."""
    annotations = dict(get_annotations(model))
    typed = {k for k, v in annotations.items() if k not in vars(model) and "Mapped[" in str(v)}
    _set(model, __annotations__={k: v for k, v in annotations.items() if k not in typed})
    return frozenset(typed)


def _fresh(declared: MapperProperty[Any]) -> MapperProperty[Any]:
    """A copy that no mapper knows of."""
    made = copy(declared)
    for name, value in vars(declared).items():
        if isinstance(value, set | dict | list):
            setattr(made, name, copy(value))
    return made


def _set(model: type, **values: Any) -> None:
    """Set attributes of a class past SQLAlchemy, which would map what it is given."""
    for name, value in values.items():
        type.__setattr__(model, name, value)


MODEL_MAPPERS.append(map_models)
