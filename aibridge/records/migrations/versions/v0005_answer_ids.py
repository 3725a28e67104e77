"""Ids of answers that lead elsewhere upstream."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "answer_ids",
        Column("id", sa.String(512), nullable=False),
        Column("content", sa.LargeBinary, nullable=False),
        Column("kept_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_answer_ids"),
    )
    op.create_index("ix_answer_ids_kept_at", "answer_ids", ["kept_at"])
