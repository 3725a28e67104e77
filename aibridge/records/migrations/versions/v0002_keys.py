"""Keys of callers, and the rows that every change of them leaves."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column

revision = "0002"
down_revision = "0001"

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make the tables, and an index for what a key has spent."""
    op.create_table(
        "api_keys",
        Column("id", sa.String(36), nullable=False),
        Column("name", sa.Text, nullable=False),
        Column("rules", sa.JSON, nullable=False, comment="what it allows"),
        Column("hash", sa.String(64), nullable=False, comment="SHA-256 of the key"),
        Column("old_hash", sa.String(64), comment="of the key before the last rotation"),
        Column("old_until", TIME),
        Column("created_at", TIME, nullable=False),
        Column("expires_at", TIME),
        Column("revoked_at", TIME),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
    )
    op.create_table(
        "audit",
        Column("id", sa.String(36), nullable=False),
        Column("at", TIME, nullable=False),
        Column("actor", sa.Text, nullable=False),
        Column("action", sa.Text, nullable=False),
        Column("subject", sa.Text, nullable=False),
        Column("detail", sa.JSON),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )
    op.create_index("ix_exchanges_key_id", "exchanges", ["key_id", "started_at"])
    op.execute("INSERT INTO settings (key, value) VALUES ('keys_version', '0')")
