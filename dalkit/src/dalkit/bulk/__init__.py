"""COPY: load files through a staging table, export what a statement returns."""

from .errors import BulkError
from .export import export
from .formats import (
    CSV,
    JSON_LINES,
    MEDIA_TYPES,
    Csv,
    Format,
    JsonLines,
    format_of_content_type,
    format_of_path,
)
from .header import columns_of
from .inserting import insert_from
from .load import Counts, load
from .response import ExportResponse

__all__ = [
    "CSV",
    "JSON_LINES",
    "MEDIA_TYPES",
    "BulkError",
    "Counts",
    "Csv",
    "ExportResponse",
    "Format",
    "JsonLines",
    "columns_of",
    "export",
    "format_of_content_type",
    "format_of_path",
    "insert_from",
    "load",
]
