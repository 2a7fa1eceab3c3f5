"""The routes of `/v1/authors`."""

from typing import Annotated

from dalkit import Page, ReadTransaction, Transaction, page
from fastapi import APIRouter, Query, Request

from .queries import authors_with_books
from .schemas import Author, AuthorCreate, AuthorQuery, AuthorWithBooks

router = APIRouter(prefix="/authors", tags=["authors"])


@router.get("")
async def list_authors(
    query: Annotated[AuthorQuery, Query()], tx: ReadTransaction, request: Request
) -> Page[AuthorWithBooks]:
    """Authors that match every filter, each with the number of its books."""
    statement = authors_with_books(tx.get_table("author"), tx.get_table("book"))
    return await page(tx, AuthorWithBooks, query, request, statement)


@router.post("", status_code=201)
async def create_author(new: AuthorCreate, tx: Transaction) -> Author:
    """Add an author."""
    return await Author.insert(tx, new)
