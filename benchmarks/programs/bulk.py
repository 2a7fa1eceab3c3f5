"""One load or export with the library's COPY, in a fresh process."""

import asyncio
import resource
import sys
import time
from pathlib import Path

from dalkit.bulk import export, format_of_path, load
from dalkit.data import DataAccessLayer, TransactionManager
from sqlalchemy import literal_column, select


def main(url: str, way: str, names: str, small: str, large: str) -> dict[str, float]:
    """Return the seconds for the large file, and the bytes by which the peak memory grew.

    `way` is load or export, `names` the columns. The small file makes the process warm.
    """
    return asyncio.run(_measure(url, way, names.split(","), Path(small), Path(large)))


async def _measure(
    url: str, way: str, names: list[str], small: Path, large: Path
) -> dict[str, float]:
    async with DataAccessLayer.connect(url, only=["item"]) as dal:
        async with dal.transaction(with_commit=False) as tx:
            await WAYS[way](tx, names, small, 1000)
        async with dal.transaction(with_commit=False) as tx:
            before, started = _peak(), time.perf_counter()
            rows = await WAYS[way](tx, names, large, None)
            seconds = time.perf_counter() - started
    return {"seconds": seconds, "grown": _peak() - before, "rows": rows}


async def _load(tx: TransactionManager, names: list[str], file: Path, _: int | None) -> int:
    counts = await load(
        tx,
        file,
        lambda staging: select(literal_column("1")),
        like=tx.get_table("item"),
        names=names,
        file_format=format_of_path(file),
    )
    return int(counts.copied)


async def _export(tx: TransactionManager, names: list[str], file: Path, limit: int | None) -> int:
    item = tx.get_table("item")
    rows = select(*(item.c[name] for name in names)).limit(limit)
    return int(await export(tx, rows, file, file_format=format_of_path(file)))


def _peak() -> int:
    """The most memory that was resident, in bytes.

    Linux leaves the peak of the parent process in a child's `ru_maxrss`: it would hide the growth.
    """
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


WAYS = {"load": _load, "export": _export}
