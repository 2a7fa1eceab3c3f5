"""A Slack for tests. conftest.py loads this plugin."""

from collections.abc import Iterator

import pytest

from .fake_slack import FakeSlack, serving


@pytest.fixture(scope="session", autouse=True)
def no_proxy() -> Iterator[None]:
    """Reach the loopback directly, whatever the developer's environment says."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("NO_PROXY", "127.0.0.1")
        yield


@pytest.fixture
def fake_slack() -> Iterator[FakeSlack]:
    """Run a Slack that accepts everything, until told otherwise."""
    with serving() as slack:
        yield slack
