"""How often a test that repeats itself tries; `make soak` runs those marked soak in full."""

import os

#: Whether this is such a run.
IS_SOAK = os.environ.get("SOAK") == "1"


def rounds(short: int, full: int) -> int:
    """Return how often, or for how many seconds, to try: `full` in a soak run, else `short`."""
    return full if IS_SOAK else short
