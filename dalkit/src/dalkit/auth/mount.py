"""A router under one scope for reading and another one for writing."""

from copy import copy

from fastapi import APIRouter, FastAPI

from .dependencies import require

#: Methods that ask for nothing but an answer (RFC 9110, section 9.2.1).
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def include_guarded(app: FastAPI, router: APIRouter, *, prefix: str, read: str, write: str) -> None:
    """Include `router`; its safe methods and WebSockets need the scope `read`, the rest `write`.

    Call it when the router has all its routes.
    """
    for scope, is_safe in ((read, True), (write, False)):
        part = copy(router)
        part.routes = [
            route
            for route in router.routes
            if SAFE.issuperset(getattr(route, "methods", None) or ()) is is_safe
        ]
        app.include_router(part, prefix=prefix, dependencies=[require(scope)])
