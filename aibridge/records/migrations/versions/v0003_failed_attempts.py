"""Requests to upstreams that failed, whatever became of their exchange."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "failed_attempts",
        Column("exchange_id", sa.String(36), nullable=False),
        Column("number", sa.Integer, nullable=False, autoincrement=False),
        Column("round", sa.Integer, nullable=False),
        Column("failed_at", sa.DateTime(timezone=True)),
        Column("upstream", sa.Text, nullable=False),
        Column("model", sa.Text, comment="as the upstream knows it"),
        Column("code", sa.Text, nullable=False, comment="HTTP status, or what went wrong in a word"),
        Column("error", sa.Text, nullable=False),
        Column("key", sa.Text, comment="which of our keys, masked"),
        Column("duration_ms", sa.Integer, nullable=False),
        Column("again_in_ms", sa.Integer, comment="null: this upstream was not asked again"),
        sa.PrimaryKeyConstraint("exchange_id", "number", name="pk_failed_attempts"),
    )
