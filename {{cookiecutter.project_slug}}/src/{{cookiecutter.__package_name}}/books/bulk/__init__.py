"""Upload and download of many books, with COPY."""

from .router import MAX_UPLOAD, reads, writes

__all__ = ["MAX_UPLOAD", "reads", "writes"]
