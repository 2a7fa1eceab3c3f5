"""Fixtures of the template's tests."""

from pathlib import Path

import pytest

from .baking import bake


@pytest.fixture(scope="session")
def default_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project of the default answers; not to be changed."""
    return bake(tmp_path_factory.mktemp("default"))
