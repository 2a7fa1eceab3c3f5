"""A read-only view of a slow database, with a local cache."""

from .errors import CacheError, Missing, NeverLoaded, NotLive, OriginError, ViewMismatch
from .modes import Age, Mode
from .objects import Many, One, ViewObject, many, one
from .refresh import Refreshed
from .view import View, in_memory_cache

__all__ = [
    "Age",
    "CacheError",
    "Many",
    "Missing",
    "Mode",
    "NeverLoaded",
    "NotLive",
    "One",
    "OriginError",
    "Refreshed",
    "View",
    "ViewMismatch",
    "ViewObject",
    "in_memory_cache",
    "many",
    "one",
]
