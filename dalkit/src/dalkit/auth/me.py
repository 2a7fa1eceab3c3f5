"""GET /me: what the caller's token says, for clients and for trying a login."""

from fastapi import APIRouter
from pydantic import BaseModel

from .dependencies import CurrentUser

router = APIRouter(tags=["auth"])


class Me(BaseModel):
    """The caller."""

    sub: str
    scopes: list[str]


@router.get("/me")
async def read_me(user: CurrentUser) -> Me:
    """Return the subject and the scopes of the access token."""
    return Me(sub=user.sub, scopes=sorted(user.scopes))
