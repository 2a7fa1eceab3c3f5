"""When a view asks the origin, and what an object knows of its loading."""

from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from .rows import Rows


class Mode(Enum):
    """When a view asks its origin."""

    ONLINE = "online"
    """Each thing is asked of the origin once per view, and what came is written to the cache."""
    PREFER_CACHE = "prefer_cache"
    """The cache, for what was ever loaded and is not older than `fresh_for`; else the origin."""
    OFFLINE = "offline"
    """Only the cache."""
    FALLBACK = "fallback"
    """As ONLINE, and the cache while the origin cannot be reached."""


_, PREFER_CACHE, OFFLINE, FALLBACK = Mode


def checked_mode(given: object, *, has_origin: bool) -> Mode:
    """The mode; raises TypeError when it is none, ValueError when it needs an origin."""
    if not isinstance(given, Mode):
        known = ", ".join(map(str, Mode))
        raise TypeError(f"mode={given!r} is no mode: use one of {known}.")
    if given is not Mode.OFFLINE and not has_origin:
        raise ValueError(f"{given} needs an origin: without one use mode=Mode.OFFLINE.")
    return given


class Age(NamedTuple):
    """When and from where an object, or what a relation leads to, was loaded."""

    at: datetime
    """When the origin was asked (UTC), by the clock of the machine that asked it."""
    seconds: float
    """The time since then."""
    source: str
    """`origin`, or `cache` when this view has it from there."""
    is_stale: bool
    """Whether the origin could not be reached when it was to be asked again."""


class Loaded:
    """What all that came in one go share."""

    __slots__ = ("at", "is_from_origin", "is_stale", "rows")

    def __init__(
        self, rows: "Rows[Any]", at: float, *, is_from_origin: bool, is_stale: bool = False
    ) -> None:
        self.rows = rows
        self.at = at
        self.is_from_origin = is_from_origin
        self.is_stale = is_stale

    def stale(self) -> "Loaded":
        """The same, of a time when the origin could not be reached."""
        return Loaded(self.rows, self.at, is_from_origin=False, is_stale=True)
