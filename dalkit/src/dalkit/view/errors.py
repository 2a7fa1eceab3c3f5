"""What a view raises besides the errors of the database."""


class NotLive(RuntimeError):
    """The view is not open: it is used before or after its `async with`, or opened again."""


class NeverLoaded(LookupError):
    """It is not in the cache, and the origin is not to be asked or cannot be reached."""


class Missing(LookupError):
    """The origin has, or had when the cache was filled, no such row."""


class ViewMismatch(TypeError):
    """The classes of a view do not fit the tables, or what the cache knows of them.

    One line for each problem.
    """


class OriginError(RuntimeError):
    """The origin cannot be used: its URL is none, no such database, or it cannot be reached.

    `__cause__` is the error of the driver or of the system.
    """


class CacheError(RuntimeError):
    """The cache cannot be used: another program's file, an older format, a damaged one."""
