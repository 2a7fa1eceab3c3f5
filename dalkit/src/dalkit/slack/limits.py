"""How many reports a user, and all users together, may send."""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from time import monotonic

from ..ratelimit import TokenBucket

_MOST_USERS = 1000


@dataclass(frozen=True, slots=True)
class Rate:
    """`burst` at once, and one more every `seconds / burst` seconds."""

    burst: int
    seconds: float


class ReportLimits:
    """One bucket a user, the least recent of 1000 forgotten first, and one for everybody."""

    def __init__(
        self,
        *,
        user: Rate = Rate(5, 60),
        everybody: Rate = Rate(20, 60),
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._user = user
        self._clock = clock
        self._users: dict[str, TokenBucket] = {}
        self._everybody = self._bucket(everybody)

    def retry_after(self, user: str) -> int:
        """Return 0 when `user` may report now, otherwise whole seconds until it makes sense."""
        bucket = self._users.pop(user, None) or self._bucket(self._user)
        self._users[user] = bucket
        if len(self._users) > _MOST_USERS:
            del self._users[next(iter(self._users))]
        return ceil(bucket.wait() or self._everybody.wait())

    def _bucket(self, rate: Rate) -> TokenBucket:
        return TokenBucket(burst=rate.burst, every=rate.seconds / rate.burst, clock=self._clock)
