"""Folds identical errors within a window into a count."""

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from .report import Report

# How many texts of one error (same type, place and route) get a message of their own.
_VARIANTS = 5
_MOST_ENTRIES = 1000


class Timer(Protocol):
    """What `loop.call_later` returns."""

    def cancel(self) -> None: ...


@dataclass(slots=True, eq=False)
class Entry:
    """One error in its window; `repeats` counts what no message has told yet."""

    key: Hashable
    report: Report | None = None
    repeats: int = 0
    timer: Timer | None = None
    variants: set[int] = field(default_factory=set)

    def take(self) -> int:
        """Return the untold repeats and start counting anew."""
        taken, self.repeats = self.repeats, 0
        return taken


class Folding:
    """Knows the errors of the last `window` seconds.

    `on_repeats(entry)` is called when a window ends with untold repeats; the window then starts
    again, so that a lasting error is told about once a window.
    """

    def __init__(
        self,
        window: float,
        on_repeats: Callable[[Entry], None],
        call_later: Callable[[float, Callable[[], None]], Timer] | None = None,
    ) -> None:
        self._window = window
        self._on_repeats = on_repeats
        self._call_later = call_later
        self._entries: dict[Hashable, Entry] = {}

    def repeated(self, key: Hashable, variant: int) -> bool:
        """Count the error and return True when it, or enough of its kind, is already known."""
        entry = self._entries.get(key)
        if entry is None:
            return False
        if variant not in entry.variants and len(entry.variants) < _VARIANTS:
            entry.variants.add(variant)
            return False
        entry.repeats += 1
        return True

    def open(self, key: Hashable, variant: int) -> Entry:
        """Return the entry of an error that is about to be told, its window running."""
        entry = self._entries.get(key)
        if entry is None:
            entry = Entry(key, variants={variant})
            if len(self._entries) < _MOST_ENTRIES:
                self._entries[key] = entry
                self._arm(entry)
        return entry

    def close(self) -> None:
        """End every window now."""
        for entry in list(self._entries.values()):
            if entry.timer is not None:
                entry.timer.cancel()
            if entry.repeats:
                self._on_repeats(entry)
        self._entries.clear()

    def _arm(self, entry: Entry) -> None:
        later = self._call_later or asyncio.get_running_loop().call_later
        entry.timer = later(self._window, partial(self._expire, entry))

    def _expire(self, entry: Entry) -> None:
        if not entry.repeats:
            del self._entries[entry.key]
            return
        self._arm(entry)
        self._on_repeats(entry)
