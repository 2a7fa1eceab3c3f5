"""The service as it is generated, with the resource `items` added as a developer adds it.

With BENCH_GUARDED the resource is one of RESOURCES, which ask for a token; otherwise it is public.
"""

import os

from my_service import app as service

from .. import items

GUARDED = "BENCH_GUARDED" in os.environ
if GUARDED:
    service.RESOURCES = (*service.RESOURCES, items)

from my_service.main import app  # noqa: E402 - it creates the application from RESOURCES

__all__ = ["app"]

if not GUARDED:
    app.include_router(items.router, prefix="/v1")
