"""Fixtures for the tests of a service: `pytest_plugins = ["dalkit.testing"]` in its conftest.py.

Each of them can be overridden. It has to be named there: as an entry point of the distribution,
anyio's own `anyio_backend` would win over the one of the session.
"""

from importlib.util import find_spec

from ..extras import extra

with extra("testing", "dalkit.testing"):
    import asgi_lifespan  # noqa: F401
    import pytest  # noqa: F401

    from .savepoints import rolled_back

__all__ = ["rolled_back"]

pytest_plugins = ["dalkit.testing.databases", "dalkit.testing.app"]
if find_spec("jwt") is not None:
    pytest_plugins.append("dalkit.testing.tokens")
