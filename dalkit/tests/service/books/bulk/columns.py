"""The columns of a file of books: as text, with the rules of BookCreate.

PostgreSQL itself would take 0x1F for an author, and "now", 01/02/2003 and 0.005 for a date and a
price; a cast would fail without a word about the column.
"""

from typing import Any

from sqlalchemy import CheckConstraint, Column, String, Text


def _rule(sql: str, reason: str) -> CheckConstraint:
    return CheckConstraint(sql, info={"reason": reason})


UPLOAD: tuple[Column[Any], ...] = (
    Column("catalog", String(64), _rule("catalog <> ''", "a text is required"), nullable=False),
    Column("title", String(200), _rule("title <> ''", "a text is required"), nullable=False),
    Column(
        "author_id",
        Text,
        _rule(
            r"CASE WHEN author_id ~ '^-?\d{1,19}$' THEN author_id::numeric "
            "BETWEEN -9223372036854775808 AND 9223372036854775807 ELSE false END",
            "use an integer of 64 bits",
        ),
        nullable=False,
        info={"json": "number"},
    ),
    Column(
        "published",
        Text,
        _rule(
            # A cast would fail on 2026-02-30, and COPY would not name the column: count from day 1.
            r"CASE WHEN published ~ '^(?!0000)\d{4}-(0[1-9]|1[0-2])-\d\d$' THEN published = "
            "to_char((left(published, 8) || '01')::date + right(published, 2)::int - 1, "
            "'YYYY-MM-DD') AND published NOT IN ('0001-01-01', '9999-12-31') "
            "ELSE published IS NULL END",
            "use a date like 2026-01-31, from 0001-01-02 to 9999-12-30",
        ),
    ),
    Column(
        "price",
        Text,
        _rule(
            r"price ~ '^\d{1,8}(\.\d{1,2})?$'",
            "use a number like 12.50, from 0 to 99999999.99 with at most two decimals",
        ),
    ),
)
