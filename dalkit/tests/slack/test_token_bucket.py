"""The token bucket, on a clock of the test's own."""

import pytest

from dalkit.slack.forwarding import TokenBucket


def test_a_bucket_fills_up_again_and_tells_how_long_that_takes() -> None:
    now = [0.0]
    bucket = TokenBucket(burst=2, every=10, clock=lambda: now[0])
    assert [bucket.wait() for _ in range(3)] == [0, 0, 10]
    now[0] = 9
    assert bucket.wait() == pytest.approx(1)
    now[0] = 10
    assert [bucket.wait(), bucket.wait()] == [0, pytest.approx(10)]
    now[0] = 1000
    assert [bucket.wait() for _ in range(3)] == [0, 0, 10]
