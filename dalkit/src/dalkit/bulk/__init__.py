"""COPY: load files through a staging table, export what a statement returns."""

from .exporting import ExportResponse, export
from .formats import CSV, FILE_CONTENT, JSON_LINES, Csv, JsonLines, format_of_path
from .loading import Counts, columns_of, insert_from, load
from .staging import BulkError

__all__ = [
    "CSV",
    "FILE_CONTENT",
    "JSON_LINES",
    "BulkError",
    "Counts",
    "Csv",
    "ExportResponse",
    "JsonLines",
    "columns_of",
    "export",
    "format_of_path",
    "insert_from",
    "load",
]
