"""Create author and book, the tables of the example resource."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    op.create_table(
        "author",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        timestamp("created_at"),
    )
    op.create_table(
        "book",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("catalog", sa.Text, nullable=False, unique=True),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("author_id", sa.BigInteger, sa.ForeignKey("author.id"), nullable=False),
        sa.Column("published", sa.Date),
        sa.Column("price", sa.Numeric(10, 2)),
        sa.Column("etag", sa.Uuid, server_default=sa.func.gen_random_uuid(), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True)),
        timestamp("created_at"),
        timestamp("updated_at"),
        # Python has no years beyond these; asyncpg takes the first and last day for infinity.
        sa.CheckConstraint(
            "published BETWEEN '0001-01-02' AND '9999-12-30'", name="published_in_calendar"
        ),
        # NaN is a number to Postgres, greater than all others: the upper bound keeps it out.
        sa.CheckConstraint("price >= 0 AND price < 'Infinity'", name="price_not_negative"),
    )
    op.create_index("ix_book_author_id", "book", ["author_id"])
    op.create_index(
        "ix_book_title_id", "book", ["title", "id"], postgresql_where=sa.text("deleted_at IS NULL")
    )
    op.execute(
        """
        CREATE VIEW author_with_books AS
        SELECT author.id AS author_id, author.name, count(book.id) AS books
        FROM author
        LEFT JOIN book ON book.author_id = author.id AND book.deleted_at IS NULL
        GROUP BY author.id
        """
    )


def downgrade() -> None:
    """Undo it."""
    op.execute("DROP VIEW author_with_books")
    op.drop_table("book")
    op.drop_table("author")


def timestamp(name: str) -> sa.Column[object]:
    """Return a column that is set to the transaction's time when a row is inserted."""
    return sa.Column(name, sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False)
