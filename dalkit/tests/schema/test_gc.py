"""The collector leaves alone what was there at the start, and is as before afterwards."""

import gc
import weakref

from dalkit.collector import GC_THRESHOLDS, tuned_gc


class Node:
    """Something that refers to itself."""

    def __init__(self) -> None:
        self.itself = self


def test_what_was_there_is_frozen_and_what_comes_is_collected() -> None:
    before, there = gc.get_threshold(), gc.get_freeze_count()
    with tuned_gc():
        assert gc.get_threshold() == GC_THRESHOLDS
        assert gc.get_freeze_count() > there + 1000
        node = weakref.ref(Node())
        gc.collect()
        assert node() is None
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0
