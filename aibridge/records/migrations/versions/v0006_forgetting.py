"""Whose hidden turns are; who wants to be forgotten while journals may still hold facts of them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the columns and the table."""
    op.add_column("hidden_turns", Column("caller", sa.Text))
    op.add_column("hidden_turns", Column("user", sa.Text))
    op.create_table(
        "forgotten",
        Column("property", sa.String(16), nullable=False, comment="user, caller or key_id"),
        Column("value", sa.Text, nullable=False),
        Column("before", sa.DateTime(timezone=True), nullable=False, comment="exchanges that began earlier"),
        sa.PrimaryKeyConstraint("property", "value", name="pk_forgotten"),
    )
