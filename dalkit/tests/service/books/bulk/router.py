"""Many books at once: `POST /v1/library/bulk` and `GET /v1/library/export`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict
from sqlalchemy import Table
from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse

from dalkit import ReadTransaction, Transaction, TransactionManager
from dalkit.bulk import (
    CSV,
    JSON_LINES,
    MEDIA_TYPES,
    BulkError,
    Counts,
    ExportResponse,
    Format,
    format_of_content_type,
    load,
)
from dalkit.web.problems import Problem

from tests.service.books.bulk.columns import UPLOAD
from tests.service.books.bulk.statements import exported_books, record_without_author, upsert_books

#: Bytes that an upload may have, instead of MAX_BODY_SIZE.
MAX_UPLOAD = 1024**3

router = APIRouter(prefix="/library", tags=["books"])

FILE: dict[str, Any] = {type_: {"schema": {"type": "string"}} for type_ in MEDIA_TYPES}
FORMATS: dict[str, Format] = {"csv": CSV, "jsonl": JSON_LINES}


class ExportQuery(BaseModel):
    """The parameters of the export."""

    model_config = ConfigDict(extra="forbid")

    format: Literal["csv", "jsonl"] = "csv"


@router.get(
    "/export",
    response_class=StreamingResponse,
    responses={200: {"description": "The file.", "content": FILE}},
)
async def export_books(
    query: Annotated[ExportQuery, Query()], tx: ReadTransaction
) -> ExportResponse:
    """All books, as a file that can be uploaded again."""
    statement = exported_books(tx.get_table("book"))
    return ExportResponse(tx, statement, filename="books", file_format=FORMATS[query.format])


@router.post(
    "/bulk",
    openapi_extra={"requestBody": {"content": FILE, "required": True}},
)
async def load_books(request: Request, tx: Transaction) -> Counts:
    """Add and change the books of a CSV or JSON Lines file, which is the body of the request.

    The columns are those of a new book; `catalog` tells which book is meant. A book that the file
    does not change, a deleted one, and all but the last of several with one `catalog` are skipped.
    The 409 for an author that is missing counts the file's records from 1, without the header.
    """
    book = tx.get_table("book")
    file_format = _format_of(request)
    with _refusals():
        counts = await load(
            tx,
            request.stream(),
            lambda staging: upsert_books(staging, book),
            columns=UPLOAD,
            file_format=file_format,
            after_copy=_check_authors,
        )
    if not counts.copied:
        raise Problem(422, "The file has no books.")
    return counts


async def _check_authors(tx: TransactionManager, staging: Table) -> None:
    """The foreign key's own error would not tell which record it is."""
    if record := await tx.fetch_value(record_without_author(staging, tx.get_table("author"))):
        detail = f"Record {record}: there is no such author."
        raise Problem(409, detail, record=record, column="author_id")


def _format_of(request: Request) -> Format:
    try:
        return format_of_content_type(request.headers.get("content-type", ""))
    except ValueError as error:
        raise Problem(415, str(error), headers={"accept-post": ", ".join(MEDIA_TYPES)}) from None


@contextmanager
def _refusals() -> Iterator[None]:
    """Answer what is wrong with the file; nobody is there to read the answer to a lost client."""
    try:
        yield
    except BulkError as error:
        place = [part for part in (error.row, error.column) if part is not None]
        item = {"loc": ["body", *place], "msg": error.reason, "type": "bulk_error"}
        raise Problem(422, str(error), row=error.row, column=error.column, errors=[item]) from None
    except ClientDisconnect:
        raise Problem(400, "The client left before the file was complete.") from None
