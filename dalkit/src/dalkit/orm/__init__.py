"""The ORM, for those who want it: models, and sessions in the transactions of dalkit.

Base has what every model can do, conflict creates without a race, reflected maps models on the
DataAccessLayer's tables, manager is for services that have no DataAccessLayer.
"""

from typing import Annotated

from fastapi import Depends
from sqlalchemy.ext.asyncio import AsyncSession

from ..web.request import read_session, request_session
from .base import Base, Timestamps
from .manager import AsyncDatabaseManager, make_db_session, manager_from_config, syncdb

__all__ = [
    "AsyncDatabaseManager",
    "Base",
    "ReadSession",
    "Session",
    "Timestamps",
    "make_db_session",
    "manager_from_config",
    "syncdb",
]

Session = Annotated[AsyncSession, Depends(request_session)]
"""The session of the request's one transaction: committed before the response begins."""
ReadSession = Annotated[AsyncSession, Depends(read_session)]
"""The same, READ ONLY unless another dependency writes; on the replica, where there is one."""
