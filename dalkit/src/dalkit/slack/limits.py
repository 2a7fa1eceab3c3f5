"""How many reports a user, and all users together, may send."""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from time import monotonic

_MOST_USERS = 1000


@dataclass(frozen=True, slots=True)
class Rate:
    """`burst` at once, and one more every `seconds / burst` seconds."""

    burst: int
    seconds: float


class TokenBucket:
    """Allows `rate`; `wait` takes a token or tells how many seconds until there is one."""

    def __init__(self, rate: Rate, now: float) -> None:
        self._rate = rate
        self._tokens = float(rate.burst)
        self._at = now

    def wait(self, now: float) -> float:
        """Take a token and return 0, or return the seconds to wait for one."""
        per_second = self._rate.burst / self._rate.seconds
        self._tokens = min(self._rate.burst, self._tokens + (now - self._at) * per_second)
        self._at = now
        if self._tokens < 1:
            return (1 - self._tokens) / per_second
        self._tokens -= 1
        return 0.0


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
        self._everybody = TokenBucket(everybody, clock())

    def retry_after(self, user: str) -> int:
        """Return 0 when `user` may report now, otherwise whole seconds until it makes sense."""
        now = self._clock()
        bucket = self._users.pop(user, None) or TokenBucket(self._user, now)
        self._users[user] = bucket
        if len(self._users) > _MOST_USERS:
            del self._users[next(iter(self._users))]
        return ceil(bucket.wait(now) or self._everybody.wait(now))
