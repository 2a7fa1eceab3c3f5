"""A token bucket: how often something may be done, whoever asks."""

from collections.abc import Callable
from time import monotonic


class TokenBucket:
    """`burst` times at once, then once every `every` seconds of `clock`."""

    def __init__(self, *, burst: int, every: float, clock: Callable[[], float] = monotonic) -> None:
        self._burst, self._every, self._clock = burst, every, clock
        self._left, self._at = float(burst), clock()

    def wait(self) -> float:
        """Count it and return 0.0 when it may be done now; otherwise return the seconds to wait."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._at) / self._every)
        self._at = now
        if self._left < 1:
            return (1 - self._left) * self._every
        self._left -= 1
        return 0.0
