"""Whether the process lives and whether it can do its work."""

from fastapi import APIRouter, Request
from pydantic import BaseModel

from .problems import Problem, responses

health_router = APIRouter(tags=["health"])
"""`GET /livez` and `GET /readyz`; they ask `request.state`, see `State`."""


class Health(BaseModel):
    """The answer when all is well."""

    status: str = "ok"


@health_router.get("/livez")
async def livez() -> Health:
    """The process answers; nothing else is looked at."""
    return Health()


@health_router.get("/readyz", responses=responses(503))
async def readyz(request: Request) -> Health:
    """The database answers, its schema is this code's, and the service is not shutting down."""
    if request.state.shutdown.draining:
        raise Problem(503, "The service is shutting down.", headers={"retry-after": "1"})
    if detail := await request.state.database.problem():
        # Where the docs page is off, so are details: the log has them.
        is_told = request.app.openapi_url is not None
        raise Problem(
            503, detail if is_told else "The service is not ready.", headers={"retry-after": "1"}
        )
    return Health()
