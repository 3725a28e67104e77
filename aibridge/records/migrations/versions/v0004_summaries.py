"""Summaries of past days, and indexes for what is asked most: a session, a user, a caller, failures."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make them. The summaries are filled later, a day at a time."""
    op.create_table(
        "summaries",
        Column("property", sa.String(16), nullable=False, comment="what its groups are groups of"),
        Column("day", sa.String(10), nullable=False),
        Column("number", sa.Integer, nullable=False, autoincrement=False),
        Column("group_name", sa.Text),
        *(
            Column(name, sa.BigInteger, nullable=False)
            for name in ("exchanges", "errors", "calls", "unpriced")
        ),
        *(Column(name, sa.BigInteger, nullable=False) for name in ("priced", "input", "cache_read")),
        *(Column(name, sa.BigInteger, nullable=False) for name in ("cache_write", "output", "reasoning")),
        Column("cost_micros", sa.BigInteger, nullable=False),
        *(Column(name, sa.LargeBinary) for name in ("first_byte", "overhead", "duration")),
        sa.PrimaryKeyConstraint("property", "day", "number", name="pk_summaries"),
        comment="figures of each group of a past day; times are packed, see figures.py",
    )
    op.create_table(
        "summary_days",
        Column("day", sa.String(10), nullable=False),
        Column("version", sa.Integer, nullable=False, comment="how often its rows changed when it was over"),
        Column("made", sa.Boolean, nullable=False, comment="whether its summaries are there"),
        sa.PrimaryKeyConstraint("day", name="pk_summary_days"),
    )
    for column in ("model", "caller", "user", "session_id", "status"):
        op.create_index(f"ix_exchanges_{column}", "exchanges", [column, "started_at"])
    op.create_index("ix_exchanges_answers_call_id", "exchanges", ["answers_call_id"])
