"""The routes of `/v1/books`."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import uuid4

from dalkit import ReadTransaction, Transaction
from dalkit.paging import Page
from dalkit.web.etag import matches
from dalkit.web.preconditions import check_if_match, names_any, quoted
from dalkit.web.problems import Problem
from fastapi import APIRouter, Header, Path, Query, Request, Response

from .schemas import Book, BookCreate, BookPatch, BookQuery

router = APIRouter(prefix="/books", tags=["books"])

BookId = Annotated[int, Path(le=2**63 - 1)]
IfMatch = Annotated[str | None, Header(description="The ETag that the change is based on, or `*`.")]
IfNoneMatch = Annotated[str | None, Header(description="ETags that the client has, or `*`.")]


@router.get("")
async def list_books(
    query: Annotated[BookQuery, Query()], tx: ReadTransaction, request: Request
) -> Page[Book]:
    """Books that match every filter."""
    return await Book.page(tx, query, request.url)


@router.get("/{book_id:int}")
async def get_book(
    book_id: BookId, tx: ReadTransaction, response: Response, if_none_match: IfNoneMatch = None
) -> Book:
    """One book and its ETag."""
    book = await _existing(tx, book_id)
    response.headers["etag"] = quoted(book.etag)
    if matches(if_none_match, quoted(book.etag)):
        raise Problem(304, headers={"etag": quoted(book.etag)})
    return book


@router.post("", status_code=201)
async def create_book(
    new: BookCreate, tx: Transaction, request: Request, response: Response
) -> Book:
    """Add a book; `Location` is where it is found."""
    book = await Book.insert(tx, new)
    response.headers["location"] = str(request.url_for("get_book", book_id=book.id))
    response.headers["etag"] = quoted(book.etag)
    return book


@router.patch("/{book_id:int}")
async def change_book(
    book_id: BookId, patch: BookPatch, tx: Transaction, response: Response, if_match: IfMatch = None
) -> Book:
    """Change some fields of the book that the client has seen (RFC 9110, section 13.1.1)."""
    book = await _existing(tx, book_id)
    check_if_match(if_match, book.etag, required=True)
    if patch.model_fields_set:
        book = await _changed(tx, book, if_match, **patch.model_dump(exclude_unset=True))
    response.headers["etag"] = quoted(book.etag)
    return book


@router.delete("/{book_id:int}", status_code=204)
async def delete_book(book_id: BookId, tx: Transaction, if_match: IfMatch = None) -> None:
    """Delete a book; its row stays, and it is answered with 410 from now on."""
    book = await _existing(tx, book_id)
    check_if_match(if_match, book.etag, required=False)
    await _changed(tx, book, if_match, deleted_at=datetime.now(UTC))


async def _existing(tx: Transaction, book_id: int) -> Book:
    book = await Book.get_by_pk(tx, book_id)
    if book is None:
        raise Problem(404, f"There is no book {book_id}.")
    if book.deleted_at is not None:
        raise Problem(410, f"Book {book_id} was deleted.")
    return book


async def _changed(tx: Transaction, book: Book, if_match: str | None, **values: object) -> Book:
    """Write, unless somebody has deleted the book or changed the version that `if_match` names."""
    seen = {"deleted_at": None} if names_any(if_match) else {"deleted_at": None, "etag": book.etag}
    values |= {"etag": uuid4(), "updated_at": datetime.now(UTC)}
    changed = await Book.update(tx, book.id, values, where=seen)
    if changed is None:
        _ = await _existing(tx, book.id)
        raise Problem(412, f"Book {book.id} was changed by somebody else.")
    return changed
