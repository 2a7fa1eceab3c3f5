"""The schema: its revision, its migrations and the typed tables written from it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .environment import concurrently, migrate
    from .expected import Status
    from .failures import SyncError
    from .idempotency import create_idempotency_table
    from .manager import DatabaseManager, SyncResult, manager_from_config, status, sync
    from .revisions import NAMING_CONVENTION

__all__ = [
    "NAMING_CONVENTION",
    "DatabaseManager",
    "Status",
    "SyncError",
    "SyncResult",
    "concurrently",
    "create_idempotency_table",
    "manager_from_config",
    "migrate",
    "status",
    "sync",
]

_HOMES = ("expected", "failures", "revisions", "manager", "environment", "idempotency")


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: who serves needs no alembic."""
    if name in __all__:
        for home in _HOMES:
            module = import_module(f".{home}", __name__)
            if name in vars(module):
                return vars(module)[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
