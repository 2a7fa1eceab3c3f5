"""GET /me: what the caller's token says, for clients and for trying a login."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.types import Lifespan

from .dependencies import CurrentUser


class Me(BaseModel):
    """The caller."""

    sub: str
    scopes: list[str]


async def read_me(user: CurrentUser) -> Me:
    """Return the subject and the scopes of the access token."""
    return Me(sub=user.sub, scopes=sorted(user.scopes))


def me_router(lifespan: Lifespan[Any]) -> APIRouter:
    """Return a router with the route; `lifespan` is merged into the app's that includes it."""
    router = APIRouter(tags=["auth"], lifespan=lifespan)
    router.add_api_route("/me", read_me)
    return router
