"""The pages for people: `/` in development, and the docs. They load nothing from elsewhere."""

from fastapi import APIRouter

from ...settings import Settings
from .docs import add_docs
from .index import add_index


def pages_router(settings: Settings) -> APIRouter:
    """Return the routes of the pages: `/` in development, `/docs` where DOCS_ENABLED allows it.

    Give FastAPI `docs_url=None`: its own page loads Swagger UI from a CDN and has inline scripts.
    What else FastAPI is given for the docs page (`swagger_ui_init_oauth`, `swagger_ui_parameters`)
    is used here. None of the routes is in the OpenAPI document.
    """
    router = APIRouter(include_in_schema=False)
    if settings.environment == "local":
        add_index(router, settings)
    if settings.docs_enabled:
        add_docs(router)
    return router
