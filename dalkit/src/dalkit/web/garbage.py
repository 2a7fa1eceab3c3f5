"""Garbage collection for a server: what lives as long as the process is not looked at again."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

#: Allocations before a collection of each generation. Python's own are made for short scripts: a
#: request would be interrupted by several collections, and now and then by one of everything.
THRESHOLDS = (50_000, 20, 100)


@contextmanager
def frozen_garbage() -> Iterator[None]:
    """Leave everything that is there now to the end of the block out of collections."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
