"""Hidden turns beside the records: kept for a day, bounded in size, shared by all processes.

Knows keys and bytes; what is in them, and whose they are, is the engine's business (bridge.recall).
"""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection, Dialect

from aibridge.records import engines
from aibridge.records.asking import Asking
from aibridge.records.glancing import Glancing
from aibridge.records.owners import PLAIN, Owners
from aibridge.records.preparing import Prepared
from aibridge.records.store import Store
from aibridge.records.tables import hidden_turns

KEPT_FOR = timedelta(hours=24)
LARGEST = 256 << 20
"""Bytes of contents; the oldest go first."""
PURGES_EVERY = 300.0
"""Seconds between two looks for what is too old or too much."""
COLUMNS = ("key", "content", "size", "kept_at", "caller", "user")


class HiddenTurns:
    """What `bridge.ports.RecallStore` asks for, in the records' database."""

    def __init__(self, store: Store, asking: Asking, owners: Owners = PLAIN) -> None:
        self._store, self._asking, self._owners = store, asking, owners
        self._kept = Glancing(store, asking, hidden_turns, KEPT_FOR)
        self._purged = 0.0
        dialect = store.engine.dialect
        self._newest, self._either = _newest(dialect), _either(dialect)

    async def get(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        """What is kept under `keys`. Raises DatabaseFailing."""
        return await self._kept.contents(keys)

    async def put(
        self, key: bytes, content: bytes, *, newest_wins: bool, caller: str, user: str | None
    ) -> None:
        """Keep `content`: committed when this returns. Raises DatabaseFailing."""
        statement = self._newest if newest_wins else self._either
        row = {"key": key, "content": content, "size": len(content), "kept_at": datetime.now(UTC)}
        row |= self._owners.columns(caller, user)
        if self._may_jot and self._store.database.jot(statement.text, statement.values(row)):
            return
        await self._asking.ask(lambda: self._put(statement, row))

    @property
    def _may_jot(self) -> bool:
        return self._asking.error is None and not self._purge_is_due

    @property
    def _purge_is_due(self) -> bool:
        return not self._purged or time.monotonic() - self._purged > PURGES_EVERY

    def _put(self, statement: Prepared, row: Mapping[str, Any]) -> None:
        if self._purge_is_due:
            self._purged = time.monotonic()
            with self._store.writing() as connection:
                _purge(connection, datetime.now(UTC))
        self._store.write_one(statement, row)


def _newest(dialect: Dialect) -> Prepared:
    """Keeps what came last."""
    return Prepared(dialect, engines.upsert(dialect.name, hidden_turns, COLUMNS, ()), hidden_turns, COLUMNS)


def _either(dialect: Dialect) -> Prepared:
    """Two contents under one key of an unnamed caller cannot be told apart: neither is given."""
    new = engines.insert(dialect.name, hidden_turns)
    same = hidden_turns.c.content == new.excluded.content
    changed: dict[str, ColumnElement[Any]] = {
        name: new.excluded[name] for name in ("kept_at", "caller", "user")
    }
    changed["content"] = sa.case((same, new.excluded.content))
    changed["size"] = sa.case((same, new.excluded.size), else_=sa.literal_column("0"))
    return Prepared(
        dialect, new.on_conflict_do_update(index_elements=["key"], set_=changed), hidden_turns, COLUMNS
    )


def _purge(connection: Connection, now: datetime) -> None:
    """Forget what is older than a day, and the oldest while it is too much."""
    table = hidden_turns.c
    connection.execute(sa.delete(hidden_turns).where(table.kept_at <= now - KEPT_FOR))
    total = connection.scalar(sa.select(sa.func.coalesce(sa.func.sum(table.size), 0))) or 0
    if total <= LARGEST:
        return
    running = sa.func.sum(table.size).over(order_by=(table.kept_at.desc(), table.key))
    ranked = sa.select(table.key, running.label("until")).subquery()
    too_much = sa.select(ranked.c.key).where(ranked.c.until > LARGEST)
    connection.execute(sa.delete(hidden_turns).where(table.key.in_(too_much)))
