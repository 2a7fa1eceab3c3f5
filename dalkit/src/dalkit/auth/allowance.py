"""A token bucket: how often something may be done, whoever asks."""

from collections.abc import Callable


class Allowance:
    """`burst` times at once, then once every `every` seconds."""

    def __init__(self, *, burst: int, every: float, clock: Callable[[], float]) -> None:
        self._burst, self._every, self._clock = burst, every, clock
        self._left, self._at = float(burst), clock()

    def take(self) -> bool:
        """Return whether it may be done now, and count it."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._at) / self._every)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
