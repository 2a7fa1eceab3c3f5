"""Bytes from a path, a binary stream or an async iterable, piece by piece."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import BinaryIO

#: What can be loaded.
Source = str | os.PathLike[str] | BinaryIO | AsyncIterable[bytes]

#: Is told how many bytes were read or written.
Progress = Callable[[int], object]

#: Bytes read from a file at a time.
PIECE = 512 * 1024


async def pieces(source: Source, progress: Progress | None = None) -> AsyncGenerator[bytes]:
    """The bytes of `source`; `progress` is told the size of each piece when it was taken.

    Files are read in a thread. Raises OSError, and TypeError when the source does not give bytes.
    """
    async with aclosing(_read(source)) as chunks:
        async for piece in chunks:
            if not isinstance(piece, bytes):
                raise TypeError(f"The source gave {type(piece).__name__}; it must give bytes.")
            yield piece
            if progress is not None:
                progress(len(piece))


async def _read(source: Source) -> AsyncGenerator[bytes]:
    if isinstance(source, AsyncIterable):
        async for piece in source:
            yield piece
    elif isinstance(source, str | os.PathLike):
        file = await asyncio.to_thread(Path(source).open, "rb")
        try:
            async for piece in _read_stream(file):
                yield piece
        finally:
            file.close()
    else:
        async for piece in _read_stream(source):
            yield piece


async def _read_stream(stream: BinaryIO) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(stream.read, PIECE):
        yield piece
