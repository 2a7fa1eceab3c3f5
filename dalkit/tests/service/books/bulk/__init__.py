"""Upload and download of many books, with COPY."""

from tests.service.books.bulk.router import MAX_UPLOAD, router

ENTITIES: tuple[type, ...] = ()

__all__ = ["ENTITIES", "MAX_UPLOAD", "router"]
