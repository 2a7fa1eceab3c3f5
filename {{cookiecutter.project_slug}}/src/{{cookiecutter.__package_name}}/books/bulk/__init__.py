"""Upload and download of many books, with COPY."""

from .router import reads, writes

__all__ = ["reads", "writes"]
