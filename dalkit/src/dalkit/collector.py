"""When Python's garbage collector works."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

#: Allocations before a collection of each generation. Python's own are made for short scripts: a
#: request would be interrupted by several collections, and now and then by one of everything.
GC_THRESHOLDS = (50_000, 10, 5)


def collect_rarely() -> None:
    """Let it work as seldom as while serving: imports allocate a lot, and make little garbage."""
    gc.set_threshold(*GC_THRESHOLDS)


@contextmanager
def tuned_gc() -> Iterator[None]:
    """Leave everything that is there now to the end of the block out of garbage collections."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    collect_rarely()
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
