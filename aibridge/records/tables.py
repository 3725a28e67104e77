"""The tables of the records. Keys are made by aibridge, times are UTC, money is integer micro-dollars.

There are no foreign keys: a round may be folded whose exchange was not. The migrations build the same
tables; a test compares the two.
"""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, MetaData, Table
from sqlalchemy.engine import Dialect

from aibridge.records.storable import shallow


class UtcTime(sa.TypeDecorator[datetime]):
    """An aware time; SQLite keeps it without its zone, which is always UTC."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """In UTC."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Aware."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class ShallowJson(sa.TypeDecorator[Any]):
    """A JSON value, not too deep for who reads it, whoever wrote it."""

    impl = sa.JSON(none_as_null=True)
    cache_ok = True

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Of a few levels."""
        return shallow(value)


NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}
metadata = MetaData(naming_convention=NAMES)
Id = sa.String(36)
Json = ShallowJson()

exchanges = Table(
    "exchanges",
    metadata,
    Column("id", Id, primary_key=True),
    Column("worker", Id, nullable=False, index=True, comment="the journal of the process that served it"),
    Column("started_at", UtcTime, index=True),
    Column("ended_at", UtcTime),
    Column("status", sa.String(16), nullable=False),
    Column("http_status", sa.Integer),
    Column("error_code", sa.Text),
    Column("error_message", sa.Text),
    Column("key_id", sa.Text),
    Column("caller", sa.Text),
    Column("user", sa.Text),
    Column("client", sa.Text),
    Column("user_agent", sa.Text),
    Column("session_id", sa.Text),
    Column("answers_call_id", sa.Text),
    Column("api", sa.Text),
    Column("path", sa.Text),
    Column("model", sa.Text, comment="as asked"),
    Column("model_answered", sa.Text),
    Column("upstream", sa.Text),
    Column("attempts", sa.Integer),
    Column("streamed", sa.Boolean),
    Column("rounds", sa.Integer),
    Column("injected_tools", sa.Integer),
    Column("first_byte_ms", sa.Integer),
    Column("first_text_ms", sa.Integer),
    Column("upstream_ms", sa.Integer),
    Column("tools_ms", sa.Integer),
    Column("overhead_ms", sa.Float),
    Column("response_id", sa.Text),
    Column("recalled_turns", sa.Integer),
    Column("notes", sa.Text, comment="what was special: a cap that was reached, a refused recall"),
    Column("unavailable", Json, comment="MCP servers that were away"),
    Column("left_out", Json, comment="tools that were not injected: their name was taken, or too many"),
    Column("metadata", Json),
    sa.Index("ix_exchanges_key_id", "key_id", "started_at"),
    sa.Index("ix_exchanges_model", "model", "started_at"),
    sa.Index("ix_exchanges_caller", "caller", "started_at"),
    sa.Index("ix_exchanges_user", "user", "started_at"),
    sa.Index("ix_exchanges_session_id", "session_id", "started_at"),
    sa.Index("ix_exchanges_answers_call_id", "answers_call_id"),
    sa.Index("ix_exchanges_status", "status", "started_at"),
)

token_usages = Table(
    "token_usages",
    metadata,
    Column("exchange_id", Id, primary_key=True),
    Column("round", sa.Integer, primary_key=True, autoincrement=False),
    Column("response_id", sa.Text),
    Column("model", sa.Text, comment="that answered this round"),
    Column("input", sa.BigInteger, nullable=False, comment="without cache"),
    Column("cache_read", sa.BigInteger, nullable=False),
    Column("cache_write", sa.BigInteger, nullable=False),
    Column("output", sa.BigInteger, nullable=False),
    Column("reasoning", sa.BigInteger, nullable=False),
    Column("audio_input", sa.BigInteger, nullable=False),
    Column("audio_output", sa.BigInteger, nullable=False),
    Column("other", Json),
    Column("source", sa.String(16), nullable=False),
    Column("cost_micros", sa.BigInteger),
    Column("price_source", sa.String(16), nullable=False),
)

tool_calls = Table(
    "tool_calls",
    metadata,
    Column("id", Id, primary_key=True),
    Column("exchange_id", Id, nullable=False, index=True),
    Column("round", sa.Integer, nullable=False),
    Column("call_id", sa.Text, nullable=False, index=True, comment="the provider's"),
    Column("server", sa.Text),
    Column("tool", sa.Text, comment="its own name"),
    Column("name", sa.Text, nullable=False, comment="as the model saw it"),
    Column("injected", sa.Boolean, nullable=False),
    Column("arguments", sa.Text),
    Column("status", sa.String(20), nullable=False),
    Column("error", sa.Text),
    Column("started_at", UtcTime),
    Column("duration_ms", sa.Integer, nullable=False),
    Column("result_chars", sa.Integer),
    Column("result", sa.Text),
)

failed_attempts = Table(
    "failed_attempts",
    metadata,
    Column("exchange_id", Id, primary_key=True),
    Column("number", sa.Integer, primary_key=True, autoincrement=False),
    Column("round", sa.Integer, nullable=False),
    Column("failed_at", UtcTime),
    Column("upstream", sa.Text, nullable=False),
    Column("model", sa.Text, comment="as the upstream knows it"),
    Column("code", sa.Text, nullable=False, comment="HTTP status, or what went wrong in a word"),
    Column("error", sa.Text, nullable=False),
    Column("key", sa.Text, comment="which of our keys, masked"),
    Column("duration_ms", sa.Integer, nullable=False),
    Column("again_in_ms", sa.Integer, comment="null: this upstream was not asked again"),
)

prompts = Table(
    "prompts",
    metadata,
    Column("exchange_id", Id, primary_key=True),
    Column("text", sa.Text, nullable=False),
)

thoughts = Table(
    "thoughts",
    metadata,
    Column("exchange_id", Id, primary_key=True),
    Column("round", sa.Integer, primary_key=True, autoincrement=False),
    Column("source", sa.Text),
    Column("text", sa.Text, nullable=False),
)

summaries = Table(
    "summaries",
    metadata,
    Column("property", sa.String(16), primary_key=True, comment="what its groups are groups of"),
    Column("day", sa.String(10), primary_key=True),
    Column("number", sa.Integer, primary_key=True, autoincrement=False),
    Column("group_name", sa.Text),
    *(Column(name, sa.BigInteger, nullable=False) for name in ("exchanges", "errors", "calls", "unpriced")),
    *(Column(name, sa.BigInteger, nullable=False) for name in ("priced", "input", "cache_read")),
    *(Column(name, sa.BigInteger, nullable=False) for name in ("cache_write", "output", "reasoning")),
    Column("cost_micros", sa.BigInteger, nullable=False),
    *(Column(name, sa.LargeBinary) for name in ("first_byte", "overhead", "duration")),
    comment="figures of each group of a past day; times are packed, see figures.py",
)

summary_days = Table(
    "summary_days",
    metadata,
    Column("day", sa.String(10), primary_key=True),
    Column("version", sa.Integer, nullable=False, comment="how often its rows changed when it was over"),
    Column("made", sa.Boolean, nullable=False, comment="whether its summaries are there"),
)

hidden_turns = Table(
    "hidden_turns",
    metadata,
    Column("key", sa.LargeBinary(32), primary_key=True),
    Column("content", sa.LargeBinary, comment="null: several that cannot be told apart"),
    Column("size", sa.Integer, nullable=False),
    Column("kept_at", UtcTime, nullable=False, index=True),
    Column("caller", sa.Text),
    Column("user", sa.Text),
)

forgotten = Table(
    "forgotten",
    metadata,
    Column("property", sa.String(16), primary_key=True, comment="user, caller or key_id"),
    Column("value", sa.Text, primary_key=True),
    Column("before", UtcTime, nullable=False, comment="exchanges that began earlier"),
)

answer_ids = Table(
    "answer_ids",
    metadata,
    Column("id", sa.String(512), primary_key=True, comment="as clients know it"),
    Column("content", sa.LargeBinary, nullable=False, comment="where it leads upstream, or the answer"),
    Column("kept_at", UtcTime, nullable=False, index=True),
    Column("caller", sa.Text),
    Column("user", sa.Text),
)

tool_lists = Table(
    "tool_lists",
    metadata,
    Column("server", sa.Text, primary_key=True),
    Column("content", sa.Text, nullable=False, comment="the tools that it listed last"),
    Column("kept_at", UtcTime, nullable=False),
)

tool_pins = Table(
    "tool_pins",
    metadata,
    Column("server", sa.Text, primary_key=True),
    Column("tool", sa.Text, primary_key=True, comment="its own name"),
    Column("definition", sa.Text, nullable=False, comment="as first seen, or as accepted later"),
    Column("pinned_at", UtcTime, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", sa.Text, nullable=False),
    Column("rules", Json, nullable=False, comment="what it allows"),
    Column("hash", sa.String(64), nullable=False, comment="SHA-256 of the key"),
    Column("old_hash", sa.String(64), comment="of the key before the last rotation"),
    Column("old_until", UtcTime),
    Column("created_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime),
    Column("revoked_at", UtcTime),
)

audit = Table(
    "audit",
    metadata,
    Column("id", Id, primary_key=True, comment="sorts by time"),
    Column("at", UtcTime, nullable=False),
    Column("actor", sa.Text, nullable=False),
    Column("action", sa.Text, nullable=False),
    Column("subject", sa.Text, nullable=False),
    Column("detail", Json),
)

settings = Table(
    "settings",
    metadata,
    Column("key", sa.Text, primary_key=True),
    Column("value", sa.Text, nullable=False),
)
