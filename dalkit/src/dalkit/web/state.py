"""What the parts of a service leave for each other in `request.state`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from ..auth.user import User
    from ..data.dal import DataAccessLayer
    from ..database import Database
    from .shutdown import Shutdown


class State(TypedDict, total=False):
    """The keys of `request.state`; the first four are yielded by the lifespan in app.py."""

    dal: "DataAccessLayer"
    database: "Database"
    entities: Sequence[type]
    shutdown: "Shutdown"

    request_id: str  # RequestIdMiddleware
    user: "User"  # dalkit.auth, when the token was verified
    user_sub: str
    route: str | None  # AccessLogMiddleware: the template of the path, None when no route matched
    outage: Exception  # the problem handlers: why the database could not be used
