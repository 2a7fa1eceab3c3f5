"""Token buckets, on a clock of the test's own."""

from dalkit.slack.forwarding import ReportLimits


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_fills_up_again() -> None:
    clock = Clock()
    limits = ReportLimits(user=2, everybody=100, clock=clock)
    assert [limits.retry_after("ada") for _ in range(3)] == [0, 0, 30]
    clock.now += 29
    assert limits.retry_after("ada") == 1
    clock.now += 1
    assert limits.retry_after("ada") == 0
    clock.now += 3600
    assert [limits.retry_after("ada") for _ in range(3)] == [0, 0, 30]


def test_users_do_not_share_a_bucket_but_everybody_shares_one() -> None:
    limits = ReportLimits(user=1, everybody=3, clock=Clock())
    assert [limits.retry_after(f"user {n}") for n in range(4)] == [0, 0, 0, 20]


def test_a_thousand_users_are_remembered() -> None:
    limits = ReportLimits(user=1, everybody=10**6, clock=Clock())
    for n in range(5000):
        limits.retry_after(f"user {n}")
    assert limits._users.cache_info().currsize == 1000
    assert limits.retry_after("user 4999") == 60
    assert limits.retry_after("user 0") == 0
