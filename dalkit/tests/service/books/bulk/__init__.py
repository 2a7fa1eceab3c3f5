"""Upload and download of many books, with COPY."""

from tests.service.books.bulk.router import MAX_UPLOAD, reads, writes

__all__ = ["MAX_UPLOAD", "reads", "writes"]
