"""The classes of rows and their relations, as the user of a view declares them."""

import sys
from collections.abc import Awaitable, Generator
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Generic,
    NoReturn,
    Self,
    TypeVar,
    get_args,
    overload,
)

if TYPE_CHECKING:
    from .modes import Loaded, Mode
    from .view import View

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
#: Where no `default` is given.
NOTHING: Any = object()


class Related(Generic[T_co]):
    """What a relation leads to from one object: await it, as often as you like.

    Calling it gives the same with a mode of its own, or with what to return instead of raising
    NeverLoaded: `await author.books(mode=Mode.OFFLINE, default=())`.
    """

    __slots__ = ("_default", "_mode", "_object", "_relation")

    def __init__(
        self,
        relation: "Relation",
        of: "ViewObject",
        mode: "Mode | None" = None,
        default: Any = NOTHING,
    ) -> None:
        self._relation = relation
        self._object = of
        self._mode = mode
        self._default = default

    def __await__(self) -> Generator[Any, None, T_co]:
        """Raise NotLive, NeverLoaded, Missing, and what the origin raises."""
        link = self._object._loaded.rows.related[self._relation]
        return link.follow(self._object, self._mode, self._default).__await__()

    def __call__(self, *, mode: "Mode | None" = None, default: Any = NOTHING) -> "Related[T_co]":
        """The same, asked in this mode; `default` in place of NeverLoaded.

        Raises TypeError for what is no mode, ValueError for one that needs an origin without one.
        """
        if mode is not None:
            self._object._loaded.rows.space.checked(mode)
        return Related(self._relation, self._object, mode, default)


class Relation:
    """A foreign key, followed from an object in either direction."""

    is_many: ClassVar[bool]

    def __init__(self, path: str, to: str | None) -> None:
        self.table, _, columns = path.rpartition(".")
        self.columns = tuple(name.strip() for name in columns.split(","))
        self.to = tuple(name.strip() for name in to.split(",")) if to else None
        self.path = path
        self.owner: type[ViewObject] = ViewObject
        self.name = ""

    def __set_name__(self, owner: "type[ViewObject]", name: str) -> None:
        """Remember the class and the attribute."""
        self.owner, self.name = owner, name

    def __repr__(self) -> str:
        """Return `Author.books`."""
        return f"{self.owner.__name__}.{self.name}"


class Many(Relation, Generic[T]):
    """An attribute to await: a tuple of all objects that refer to this one."""

    is_many = True

    @overload
    def __get__(self, of: None, owner: object) -> Self: ...
    @overload
    def __get__(self, of: "ViewObject", owner: object) -> Related[tuple[T, ...]]: ...
    def __get__(self, of: "ViewObject | None", owner: object) -> Any:
        """The relation itself from the class, for `include`."""
        return self if of is None else Related(self, of)


class One(Relation, Generic[T]):
    """An attribute to await: the object that this one refers to, or that refers to it."""

    is_many = False

    @overload
    def __get__(self, of: None, owner: object) -> Self: ...
    @overload
    def __get__(self, of: "ViewObject", owner: object) -> Related[T]: ...
    def __get__(self, of: "ViewObject | None", owner: object) -> Any:
        """The relation itself from the class, for `include`."""
        return self if of is None else Related(self, of)


def many(path: str, *, to: str | None = None) -> Any:
    """Many objects: `many("book.author_id")` are those whose `author_id` is this one's key.

    Through a table of pairs: `many("authorship.author_id", to="book_id")`. Several columns are
    separated by commas: `many("line.order_id,order_year")`.
    """
    return Many[Any](path, to)


def one(path: str) -> Any:
    """One object: `one("author_id")` is the one whose key this one's `author_id` is.

    None where the key is null: declare it `One[Author | None]`. From the other side, where the
    foreign key is unique: `one("profile.author_id")`, None when there is none.
    """
    return One[Any](path, None)


class ViewClass(type):
    """Makes the slots of a class of rows, and what `view.Author` is."""

    fields: tuple[str, ...]
    relations: dict[str, Relation]
    table: str | None
    declared_key: tuple[str, ...] | None

    def __new__(
        mcls,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        *,
        table: str | None = None,
        key: tuple[str, ...] | None = None,
    ) -> "ViewClass":
        """Slots for each annotation that is no relation; raises TypeError for one with a value."""
        annotated = [n for n, hint in _annotations(namespace).items() if not _is_constant(n, hint)]
        own = [n for n in annotated if not isinstance(namespace.get(n), Relation)]
        for field in own:
            if field in namespace:
                raise TypeError(f"{name}.{field} has a value: the fields of a row have none.")
        namespace["__slots__"] = ("_loaded",) if not bases else tuple(own)
        cls = super().__new__(mcls, name, bases, namespace)
        inherited = [base for base in bases if isinstance(base, ViewClass)]
        fields = [field for base in inherited for field in base.fields] + (own if bases else [])
        cls.fields = tuple(dict.fromkeys(fields))
        cls.relations = {n: r for base in inherited for n, r in base.relations.items()}
        cls.relations |= {n: value for n, value in namespace.items() if isinstance(value, Relation)}
        cls.table = table or next((base.table for base in inherited if base.table), None)
        cls.declared_key = key or next((b.declared_key for b in inherited if b.declared_key), None)
        return cls

    def __get__(cls, view: Any, owner: Any = None) -> Any:
        """The class itself from a view's class; from a view, what loads objects by their key."""
        return cls if view is None else view.by_key(cls)


def _annotations(namespace: dict[str, Any]) -> dict[str, Any]:
    """The annotations of a class that is being made; from Python 3.14 on they are a function."""
    if sys.version_info >= (3, 14):
        import annotationlib  # noqa: PLC0415

        if annotate := annotationlib.get_annotate_from_class_namespace(namespace):
            forward = annotationlib.Format.FORWARDREF
            return annotationlib.call_annotate_function(annotate, forward)
    found: dict[str, Any] = namespace.get("__annotations__", {})
    return found


def _is_constant(name: str, hint: Any) -> bool:
    return name.startswith("_") or "ClassVar" in str(hint)


class ViewObject(metaclass=ViewClass):
    """A row: `class Author(ViewObject, table="author")`, with a field for each column to load.

    It is frozen, and there is one for each row and view. It comes from a view:
    `await view.Author(1)`.
    """

    if TYPE_CHECKING:
        _loaded: Loaded

        # So type checkers know that `view.Author(1)` is to be awaited, and gives an Author.
        def __new__(cls, *key: Any, mode: "Mode | None" = None) -> "Awaitable[Self]": ...  # type: ignore[misc]

    else:

        def __init__(self, *key: object, **options: object) -> None:
            name = type(self).__name__
            raise TypeError(f"{name} objects come from a view: await view.{name}(...).")

    @classmethod
    async def load_by_key(
        cls, view: "View", keys: "list[Any]", include: "tuple[Relation, ...]" = ()
    ) -> None:
        """Load the rows of these keys from the origin, in one statement.

        The view calls it with all keys that were awaited in one turn of the event loop. A class may
        override it to load more in the same go:
        `await super().load_by_key(view, keys, include=(Author.books,))`.
        """
        await view.load_by_key(cls, keys, include)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        """Refuse it: raises AttributeError."""
        raise AttributeError(f"{type(self).__name__}.{name} cannot be set: a view only reads.")

    def __delattr__(self, name: str) -> NoReturn:
        """Refuse it: raises AttributeError."""
        raise AttributeError(f"{type(self).__name__}.{name} cannot be deleted: a view only reads.")

    def __repr__(self) -> str:
        """Return `Author(id=1, name='Lem')`."""
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in type(self).fields)
        return f"{type(self).__name__}({fields})"

    def __copy__(self) -> Self:
        """The same object: there is one for each row."""
        return self

    def __deepcopy__(self, memo: object) -> Self:
        """The same object: there is one for each row."""
        return self

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled: raises TypeError."""
        raise TypeError(f"{type(self).__name__} objects belong to a view and cannot be pickled.")


def relation_target(hint: Any) -> tuple[Any, bool]:
    """The class that a relation's annotation names, and whether it may be None.

    Raises TypeError when it is not Many[...] or One[...] of one class.
    """
    arguments = get_args(hint)
    if len(arguments) != 1:
        raise TypeError("annotate it Many[Class], One[Class] or One[Class | None]")
    members = get_args(arguments[0]) or (arguments[0],)
    classes = [one for one in members if one is not type(None)]
    if len(classes) != 1:
        raise TypeError("annotate it Many[Class], One[Class] or One[Class | None]")
    return classes[0], len(members) == 2
