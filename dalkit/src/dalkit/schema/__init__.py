"""The schema: its revision, its migrations and the typed tables written from it."""

from .environment import migrate
from .idempotency import create_idempotency_table
from .manager import DatabaseManager, SyncResult, manager_from_config, status, sync
from .revisions import NAMING_CONVENTION, Status, SyncError

__all__ = [
    "NAMING_CONVENTION",
    "DatabaseManager",
    "Status",
    "SyncError",
    "SyncResult",
    "create_idempotency_table",
    "manager_from_config",
    "migrate",
    "status",
    "sync",
]
