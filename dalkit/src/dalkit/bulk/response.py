"""An export as the response to a request."""

from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy import Executable
from starlette.responses import StreamingResponse
from starlette.types import Send

from ..web.request import RequestTransaction
from .export import export
from .formats import CSV, Format


class ExportResponse(StreamingResponse):
    """A download that COPY writes straight to the client, as fast as the client takes it.

    Make it in the handler, from a `ReadTransaction`: the transaction stays open, READ ONLY, until
    the last byte or the client's abort. An error before the first byte is answered as usual; one
    after it cuts the response short.
    """

    def __init__(
        self,
        transaction: RequestTransaction,
        statement: Executable,
        *,
        filename: str,
        file_format: Format = CSV,
        **options: Any,
    ) -> None:
        super().__init__(_nothing(), media_type=file_format.media_type)
        self.headers["content-disposition"] = (
            f'attachment; filename="{filename}.{file_format.name}"'
        )
        self._arguments = (transaction, statement)
        self._options = {"file_format": file_format} | options
        transaction.hold_open()

    async def stream_response(self, send: Send) -> None:
        """Send the export; called by StreamingResponse, which watches for the client's abort."""
        started = False

        async def write(piece: bytes) -> None:
            nonlocal started
            if not started:
                started = True
                await send(
                    {
                        "type": "http.response.start",
                        "status": self.status_code,
                        "headers": self.raw_headers,
                    }
                )
            await send({"type": "http.response.body", "body": piece, "more_body": True})

        await export(*self._arguments, write, **self._options)
        if not started:
            await write(b"")
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""
