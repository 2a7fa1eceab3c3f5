"""Many books at once: `POST /v1/library/bulk` and `GET /v1/library/export`."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel
from sqlalchemy import Insert, Table, func, literal_column, select, tuple_
from sqlalchemy.dialects.postgresql import distinct_on, insert
from starlette.responses import StreamingResponse

from dalkit import ReadTransaction, Transaction
from dalkit.bulk import CSV, FILE_CONTENT, JSON_LINES, Counts, ExportResponse, load
from dalkit.web.problems import Problem, responses

from tests.service.books.schemas import BookCreate

#: Bytes that an upload may have, instead of MAX_BODY_SIZE.
MAX_UPLOAD = 1024**3
NAMES = list(BookCreate.model_fields)
ENTITIES = ()

router = APIRouter(prefix="/library", tags=["books"])


class ExportQuery(BaseModel, extra="forbid"):
    """The parameters of the export."""

    format: Literal["csv", "jsonl"] = "csv"


@router.get("/export", response_class=StreamingResponse, responses={200: {"content": FILE_CONTENT}})
async def export_books(
    query: Annotated[ExportQuery, Query()], tx: ReadTransaction
) -> ExportResponse:
    """All books, as a file that can be uploaded again."""
    book = tx.get_table("book")
    columns = [book.c[name] for name in NAMES]
    statement = select(*columns).where(book.c.deleted_at.is_(None)).order_by(book.c.id)
    file_format = CSV if query.format == "csv" else JSON_LINES
    return ExportResponse(tx, statement, filename="books", file_format=file_format)


@router.post(
    "/bulk",
    responses=responses(413, 415),
    openapi_extra={"requestBody": {"content": FILE_CONTENT, "required": True}},
)
async def load_books(request: Request, tx: Transaction) -> Counts:
    """Add and change the books of a CSV or JSON Lines file; `catalog` tells which book is meant.

    A book that stays as it is, a deleted one, and all but the last of one `catalog` are skipped.
    """
    book = tx.get_table("book")
    counts = await load(tx, request, lambda it: _upsert(it, book), like=book, rows=BookCreate)
    if not counts.copied:
        raise Problem(422, "The file has no books.")
    return counts


def _upsert(staging: Table, book: Table) -> Insert:
    last = select(*staging.c).ext(distinct_on(staging.c.catalog))
    last = last.order_by(staging.c.catalog, literal_column("ctid").desc())
    new = insert(book).from_select(NAMES, last)
    set_: dict[str, Any] = {name: new.excluded[name] for name in NAMES}
    before, after = tuple_(*(book.c[name] for name in NAMES)), tuple_(*set_.values())
    set_ |= {"etag": func.gen_random_uuid(), "updated_at": func.now()}
    where = book.c.deleted_at.is_(None) & before.is_distinct_from(after)
    return new.on_conflict_do_update(index_elements=["catalog"], set_=set_, where=where)
