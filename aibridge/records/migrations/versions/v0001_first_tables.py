"""The tables of the records as first released."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column

revision = "0001"
down_revision = None

ID = sa.String(36)
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make all tables."""
    _exchanges()
    _token_usages()
    _tool_calls()
    _texts()
    op.create_table(
        "hidden_turns",
        Column("key", sa.LargeBinary(32), nullable=False),
        Column("content", sa.LargeBinary, comment="null: several that cannot be told apart"),
        Column("size", sa.Integer, nullable=False),
        Column("kept_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_hidden_turns"),
    )
    op.create_index("ix_hidden_turns_kept_at", "hidden_turns", ["kept_at"])
    _tools()
    op.create_table(
        "settings",
        Column("key", sa.Text, nullable=False),
        Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_settings"),
    )


def _exchanges() -> None:
    op.create_table(
        "exchanges",
        Column("id", ID, nullable=False),
        Column("worker", ID, nullable=False, comment="the journal of the process that served it"),
        Column("started_at", TIME),
        Column("ended_at", TIME),
        Column("status", sa.String(16), nullable=False),
        Column("http_status", sa.Integer),
        *_text_columns("error_code", "error_message", "key_id", "caller", "user", "client", "user_agent"),
        *_text_columns("session_id", "answers_call_id", "api", "path"),
        Column("model", sa.Text, comment="as asked"),
        *_text_columns("model_answered", "upstream"),
        Column("attempts", sa.Integer),
        Column("streamed", sa.Boolean),
        *(Column(name, sa.Integer) for name in ("rounds", "injected_tools", "first_byte_ms")),
        *(Column(name, sa.Integer) for name in ("first_text_ms", "upstream_ms", "tools_ms")),
        Column("overhead_ms", sa.Float),
        Column("response_id", sa.Text),
        Column("recalled_turns", sa.Integer),
        Column("notes", sa.Text, comment="what was special: a cap that was reached, a refused recall"),
        Column("unavailable", sa.JSON, comment="MCP servers that were away"),
        Column(
            "left_out", sa.JSON, comment="tools that were not injected: their name was taken, or too many"
        ),
        Column("metadata", sa.JSON),
        sa.PrimaryKeyConstraint("id", name="pk_exchanges"),
    )
    op.create_index("ix_exchanges_worker", "exchanges", ["worker"])
    op.create_index("ix_exchanges_started_at", "exchanges", ["started_at"])


def _token_usages() -> None:
    tokens = ("cache_read", "cache_write", "output", "reasoning", "audio_input", "audio_output")
    op.create_table(
        "token_usages",
        Column("exchange_id", ID, nullable=False),
        Column("round", sa.Integer, nullable=False, autoincrement=False),
        Column("response_id", sa.Text),
        Column("model", sa.Text, comment="that answered this round"),
        Column("input", sa.BigInteger, nullable=False, comment="without cache"),
        *(Column(name, sa.BigInteger, nullable=False) for name in tokens),
        Column("other", sa.JSON),
        Column("source", sa.String(16), nullable=False),
        Column("cost_micros", sa.BigInteger),
        Column("price_source", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("exchange_id", "round", name="pk_token_usages"),
    )


def _tool_calls() -> None:
    op.create_table(
        "tool_calls",
        Column("id", ID, nullable=False),
        Column("exchange_id", ID, nullable=False),
        Column("round", sa.Integer, nullable=False),
        Column("call_id", sa.Text, nullable=False, comment="the provider's"),
        Column("server", sa.Text),
        Column("tool", sa.Text, comment="its own name"),
        Column("name", sa.Text, nullable=False, comment="as the model saw it"),
        Column("injected", sa.Boolean, nullable=False),
        Column("arguments", sa.Text),
        Column("status", sa.String(20), nullable=False),
        Column("error", sa.Text),
        Column("started_at", TIME),
        Column("duration_ms", sa.Integer, nullable=False),
        Column("result_chars", sa.Integer),
        Column("result", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_tool_calls"),
    )
    op.create_index("ix_tool_calls_exchange_id", "tool_calls", ["exchange_id"])
    op.create_index("ix_tool_calls_call_id", "tool_calls", ["call_id"])


def _texts() -> None:
    op.create_table(
        "prompts",
        Column("exchange_id", ID, nullable=False),
        Column("text", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("exchange_id", name="pk_prompts"),
    )
    op.create_table(
        "thoughts",
        Column("exchange_id", ID, nullable=False),
        Column("round", sa.Integer, nullable=False, autoincrement=False),
        Column("source", sa.Text),
        Column("text", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("exchange_id", "round", name="pk_thoughts"),
    )


def _tools() -> None:
    op.create_table(
        "tool_lists",
        Column("server", sa.Text, nullable=False),
        Column("content", sa.Text, nullable=False, comment="the tools that it listed last"),
        Column("kept_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("server", name="pk_tool_lists"),
    )
    op.create_table(
        "tool_pins",
        Column("server", sa.Text, nullable=False),
        Column("tool", sa.Text, nullable=False, comment="its own name"),
        Column("definition", sa.Text, nullable=False, comment="as first seen, or as accepted later"),
        Column("pinned_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("server", "tool", name="pk_tool_pins"),
    )


def _text_columns(*names: str) -> list[Column[str]]:
    return [Column(name, sa.Text) for name in names]
