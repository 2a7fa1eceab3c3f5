"""List endpoints: declared filters, orderings and pages, by offset or by cursor."""

from .pages import Page, page
from .query import FilterModel, KeysetQueryModel, QueryModel

__all__ = ["FilterModel", "KeysetQueryModel", "Page", "QueryModel", "page"]
