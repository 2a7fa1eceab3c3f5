"""Imports of other packages without the parts of them that a service does not use.

A worker pays for what is imported with its start and its memory. Whoever asks for one of the parts
that are left out here gets it: it is imported then.
"""

import ast
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from importlib.machinery import PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import Any

_ASYNCIO = "sqlalchemy.ext.asyncio"
#: Its modules that are of the ORM, and import it.
_OF_THE_ORM = ("session", "scoping")


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Let these modules be as if they were not installed, to whoever is imported meanwhile.

    For packages that take them when they are there. A module that is imported already stays.
    """
    hidden = [name for name in names if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment] # importing it raises ImportError
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def import_async_core() -> None:
    """Import `sqlalchemy.ext.asyncio`, and the ORM only when a name of it is asked for there.

    SQLAlchemy's file is run as it is but for the lines that import from the modules of the ORM.
    Does nothing where it is imported already, or is no file of source code.
    """
    if _ASYNCIO in sys.modules:
        return
    import sqlalchemy.ext  # noqa: PLC0415 - takes long, and not everybody has a database

    spec = PathFinder.find_spec(_ASYNCIO, sqlalchemy.ext.__path__)
    if spec is None or type(spec.loader) is not SourceFileLoader:
        return
    spec.loader = loader = _WithoutOrm(_ASYNCIO, spec.loader.path)
    module = sys.modules[_ASYNCIO] = importlib.util.module_from_spec(spec)
    try:
        loader.exec_module(module)
    except BaseException:
        del sys.modules[_ASYNCIO]
        raise
    sqlalchemy.ext.asyncio = module


class _WithoutOrm(SourceFileLoader):
    """Runs the file without some of its lines; their names are imported when they are asked for."""

    def get_code(self, fullname: str) -> CodeType:
        tree = ast.parse(self.get_data(self.path))
        tree.body = [line for line in tree.body if not _imports_orm(line)]
        return compile(tree, self.path, "exec", dont_inherit=True)

    def exec_module(self, module: ModuleType) -> None:
        tree = ast.parse(self.get_data(self.path))
        homes = {
            alias.asname or alias.name: (f"{module.__name__}.{line.module}", alias.name)
            for line in tree.body
            if isinstance(line, ast.ImportFrom) and _imports_orm(line)
            for alias in line.names
        }

        def __getattr__(name: str) -> Any:  # noqa: N807 - PEP 562
            if name not in homes:
                raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
            home, named = homes[name]
            value = getattr(importlib.import_module(home), named)
            setattr(module, name, value)
            return value

        module.__dict__["__getattr__"] = __getattr__
        super().exec_module(module)


def _imports_orm(line: ast.stmt) -> bool:
    return isinstance(line, ast.ImportFrom) and line.level == 1 and line.module in _OF_THE_ORM


def know_v1_models_without_import() -> None:
    """Keep FastAPI from importing `pydantic.v1` to see that something is no model of it.

    It asks so of every annotation and of what it encodes. Nothing is a model of a module that
    nobody has imported. Where FastAPI has no such functions, which are private, nothing is done.
    """
    from fastapi import encoders  # noqa: PLC0415 - not everybody has a web framework
    from fastapi._compat import shared  # noqa: PLC0415

    for module, name in (
        (shared, "is_pydantic_v1_model_class"),
        (encoders, "is_pydantic_v1_model_instance"),
    ):
        ask = getattr(module, name, None)
        if ask is not None and not hasattr(ask, "__wrapped__"):
            setattr(module, name, _unless_not_imported(ask))


def _unless_not_imported(ask: Callable[[Any], bool]) -> Callable[[Any], bool]:
    @wraps(ask)
    def asked(value: Any) -> bool:
        return "pydantic.v1.main" in sys.modules and ask(value)

    return asked
