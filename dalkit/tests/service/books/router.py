"""The routes of `/v1/books`."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from dalkit import Page, ReadTransaction, Transaction
from dalkit.types import Id
from dalkit.web import ConditionalRead, ConditionalWrite, Created

from tests.service.books.schemas import Book, BookCreate, BookPatch, BookQuery

router = APIRouter(prefix="/books", tags=["books"])


@router.get("")
async def list_books(
    query: Annotated[BookQuery, Query()], tx: ReadTransaction, request: Request
) -> Page[Book]:
    """Books that match every filter."""
    return await Book.page(tx, query, request)


@router.get("/{book_id}")
async def get_book(book_id: Id, tx: ReadTransaction, conditional: ConditionalRead) -> Book:
    """One book and its ETag."""
    return conditional.tagged(await Book.get_or_404(tx, book_id))


@router.post("", status_code=201)
async def create_book(new: BookCreate, tx: Transaction, created: Created) -> Book:
    """Add a book; `Location` is where it is found."""
    book = await Book.insert(tx, new)
    return created.at("get_book", book, book_id=book.id)


@router.patch("/{book_id}")
async def change_book(
    book_id: Id, patch: BookPatch, tx: Transaction, conditional: ConditionalWrite
) -> Book:
    """Change some fields of the book that the client has seen."""
    return await conditional.update(tx, Book, book_id, patch)


@router.delete("/{book_id}", status_code=204)
async def delete_book(book_id: Id, tx: Transaction, conditional: ConditionalWrite) -> None:
    """Delete a book; its row stays, and it is answered with 410 from now on."""
    await conditional.delete(tx, Book, book_id)
