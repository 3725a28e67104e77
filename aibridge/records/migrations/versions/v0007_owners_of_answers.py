"""Whose answers and their ids are; those that were kept before are nobody's, and go after their month."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make the columns."""
    op.add_column("answer_ids", Column("caller", sa.Text))
    op.add_column("answer_ids", Column("user", sa.Text))
