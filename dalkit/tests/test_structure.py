"""The rules of the house that a reader could break without noticing."""

import ast
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from dalkit import Transaction

import tests.service

SRC = Path(tests.service.__path__[0])
FILES = sorted(SRC.rglob("*.py"))
ENGINE_FACTORIES = {"create_engine", "create_async_engine", "engine_from", "create_pool"}


TOP = {"app": 3, "main": 4, "cli": 4, "commands": 4}


def _floor(room: str) -> int:
    """How high a part stands: 0 db, 1 shared modules, 2 resources, 3 app, 4 entry points."""
    is_resource = any(SRC.joinpath(room).glob("*router.py"))
    return 0 if room == "db" else TOP.get(room, 2 if is_resource else 1)


def _imported_rooms(file: Path) -> Iterator[str]:
    """The files and folders of the package that a file imports from."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            above = file.parents[node.level - 1].relative_to(SRC)
            names = [node.module] if node.module else [alias.name for alias in node.names]
            for name in names:
                room = (above / name.replace(".", "/")).parts[0]
                assert (SRC / room).exists() or (SRC / f"{room}.py").exists(), room
                yield room


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SRC)))
def test_imports_point_down_the_house(file: Path) -> None:
    own = file.relative_to(SRC).with_suffix("").parts[0]
    for room in _imported_rooms(file):
        shared = _floor(own) == _floor(room) in (1, 4)
        assert room == own or _floor(room) < _floor(own) or shared, f"{own} imports {room}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SRC)))
def test_only_the_toolkit_makes_engines_and_takes_connections(file: Path) -> None:
    if file.relative_to(SRC).parts[0] == "db" or file.name == "database.py":
        return
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called.split(".")[-1] not in ENGINE_FACTORIES
            assert not called.endswith(("engine.connect", "engine.begin", "asyncpg.connect"))


async def test_a_transaction_without_its_middleware_is_a_loud_error() -> None:
    app = FastAPI()

    @app.get("/")
    async def read(tx: Transaction) -> None: ...

    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://testserver"
    ) as client:
        with pytest.raises(RuntimeError, match="TransactionMiddleware"):
            await client.get("/")
