"""What stops a benchmark."""


class BenchmarkError(Exception):
    """The harness cannot go on; the message says why and what to do."""
