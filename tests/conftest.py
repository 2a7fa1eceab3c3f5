"""Fixtures of the template's tests."""

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from .baking import bake
from .environments import install

Shared = Callable[[str, Callable[[Path], None]], Path]


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    """Return `shared(name, make)`: a folder that the first process of this run fills by `make`."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if root.name.startswith("popen-") else root

    def get(name: str, make: Callable[[Path], None]) -> Path:
        folder, made = root / name, root / f"{name}.made"
        with (root / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not made.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                made.touch()
        return folder

    return get


@pytest.fixture(scope="session")
def default_project(shared: Shared) -> Path:
    """The project of the default answers, installed; not to be changed."""
    return shared("default", lambda folder: install(bake(folder))) / "my-service"
