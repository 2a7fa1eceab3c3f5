"""The data directory: made by initdb, readable by one major version only."""

from __future__ import annotations

import locale
import shutil
from pathlib import Path

from ..postgres import PostgresError
from .account import Account


def prepare_data(data_dir: Path, bin_dir: Path, major: str, account: Account) -> None:
    """Make `data_dir` one that `account` can serve with the programs in `bin_dir`.

    Raises PostgresError when initdb fails or the data is of another major version.
    """
    if not data_dir.exists():
        create_data(data_dir, bin_dir, account)
    theirs = (data_dir / "PG_VERSION").read_text().strip()
    if theirs != major:
        raise PostgresError(
            f"The data in {data_dir} was written by PostgreSQL {theirs}, but {bin_dir} is"
            f" PostgreSQL {major}: set PG_BIN_DIR to a PostgreSQL {theirs}, or delete the folder"
            " to begin with an empty database."
        )
    account.take(data_dir)


def create_data(data_dir: Path, bin_dir: Path, account: Account) -> None:
    """Run initdb beside `data_dir`, so that an interrupted one never looks like data."""
    draft = data_dir.with_name(f"{data_dir.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    account.take(draft)
    works, output = account.run(
        *(str(bin_dir / "initdb"), "-D", str(draft), "--username=postgres"),
        *("--auth=trust", "--encoding=UTF8", f"--locale={best_locale()}", "--no-sync"),
    )
    if not works:
        raise PostgresError(f"initdb failed in {draft}:\n{output.strip()}")
    draft.rename(data_dir)


def best_locale() -> str:
    """Return C.UTF-8, the order and the character classes of production, where it exists."""
    try:
        locale.setlocale(locale.LC_ALL, "C.UTF-8")
    except locale.Error:
        return "C"
    return "C.UTF-8"
