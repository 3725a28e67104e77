"""Where keys and the audit rest, in the records' database, and what a key has spent by the records.

Knows rows; what a key means is the business of `access`. Every change bumps a version, by which other
processes see that there is one, and leaves an audit row, in the same transaction. Methods block.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from aibridge.ids import new_id
from aibridge.records import auditing
from aibridge.records.store import Store
from aibridge.records.tables import api_keys, audit, exchanges, settings, token_usages

VERSION = "keys_version"
Row = Mapping[str, Any]


class KeyShelf:
    """What `access` asks for. Its methods raise DatabaseFailing."""

    def __init__(self, store: Store, worker: str = "") -> None:
        """`worker`: the journal of this process, where it writes records."""
        self._store, self._worker = store, worker

    def version(self) -> str:
        """Another word whenever a key has changed."""
        with self._store.reading() as connection:
            found = connection.scalar(sa.select(settings.c.value).where(settings.c.key == VERSION))
            return str(found)

    def all_keys(self) -> Sequence[Row]:
        """All keys, oldest first."""
        with self._store.reading() as connection:
            found = connection.execute(sa.select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id))
            return [dict(row._mapping) for row in found]

    def put(self, row: Row, told: Row) -> None:
        """Keep a new key; `told` is its audit row, as of the others."""
        with self._store.writing() as connection:
            connection.execute(sa.insert(api_keys), dict(row))
            _tell(connection, told)

    def change(self, key_id: str, row: Row, told: Row) -> None:
        """Set the columns in `row` of a key."""
        with self._store.writing() as connection:
            connection.execute(sa.update(api_keys).where(api_keys.c.id == key_id).values(dict(row)))
            _tell(connection, told)

    def note(self, told: Row) -> None:
        """Keep `told` in the audit: of a change that is no key's."""
        with self._store.writing() as connection:
            auditing.tell(connection, told)

    def audit(self, limit: int, before: str | None = None) -> Sequence[Row]:
        """The newest rows of the audit, those before the row `before` where it is given."""
        query = sa.select(audit).order_by(audit.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(audit.c.id < before)
        with self._store.reading() as connection:
            return [dict(row._mapping) for row in connection.execute(query)]

    def spent(self, key_id: str, since: datetime) -> int:
        """Micro-dollars of the exchanges of `key_id` that began at `since` or later."""
        return self._spent(key_id, since)

    def spent_by_others(self, key_id: str, since: datetime) -> int:
        """The same without those of this process: it knows them itself, and sooner."""
        return self._spent(key_id, since, exchanges.c.worker != self._worker)

    def _spent(self, key_id: str, since: datetime, *further: sa.ColumnElement[bool]) -> int:
        mine = sa.and_(exchanges.c.key_id == key_id, exchanges.c.started_at >= since, *further)
        costs = sa.select(sa.func.coalesce(sa.func.sum(token_usages.c.cost_micros), 0)).select_from(
            exchanges.join(token_usages, token_usages.c.exchange_id == exchanges.c.id)
        )
        with self._store.reading() as connection:
            found = connection.scalar(costs.where(mine))
            return int(found or 0)

    def close(self) -> None:
        """Close the database; for a command that opened it for this alone."""
        self._store.close()


def _tell(connection: sa.Connection, told: Row) -> None:
    auditing.tell(connection, told)
    connection.execute(sa.update(settings).where(settings.c.key == VERSION).values(value=new_id()))
