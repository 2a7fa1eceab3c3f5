"""The fixtures of dalkit.testing, for this service; each of them can be overridden here."""

from collections.abc import Callable

import pytest
from fastapi import FastAPI

from {{ cookiecutter.__package_name }} import app
from {{ cookiecutter.__package_name }}.settings import Settings

pytest_plugins = ["dalkit.testing"]


@pytest.fixture(scope="session")
def create_app() -> Callable[..., FastAPI]:
    """What makes the application that `client` calls."""
    return app.create_app


@pytest.fixture(scope="session")
def settings_class() -> type[Settings]:
    """The settings that it is made with."""
    return Settings
