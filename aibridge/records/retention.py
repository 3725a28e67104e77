"""Old records go: daily, by one of all processes, in batches that nobody has to wait for.

Ids tell when an exchange began (UUIDv7), so that each table is cut by its key, exchanges that never began in
the records included.
"""

import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from aibridge.records import engines, logs
from aibridge.records.deleting import BATCH, KEYS, delete_exchanges
from aibridge.records.store import Store
from aibridge.records.summaries import id_at
from aibridge.records.tables import forgotten, hidden_turns, settings

DUE = "retention_due"
DAILY = timedelta(days=1)
LEASE = timedelta(hours=1)
"""How long others wait for a process that began with it; it may have been killed."""
FIRST_AFTER = 60.0
"""Seconds after the start: not in the way of it."""
DEMANDS_KEPT = timedelta(days=7)
"""How long facts of somebody who is forgotten may still be on their way."""


def prune(store: Store, before: datetime) -> Counter[str]:
    """Delete what began before then, of all tables; how many rows of which. Raises DatabaseFailing."""
    gone: Counter[str] = Counter()
    first = id_at(before)
    for key in reversed([*KEYS.values()]):  # exchanges with all of theirs; then what has none
        query = sa.select(key).where(key < first).order_by(key).limit(BATCH)
        while True:
            with store.writing() as connection:
                if not (ids := list(connection.scalars(query))):
                    break
                gone.update(delete_exchanges(connection, ids))
    with store.writing() as connection:
        old = hidden_turns.c.kept_at < before
        gone["hidden_turns"] += connection.execute(sa.delete(hidden_turns).where(old)).rowcount
        late = forgotten.c.before < datetime.now(UTC) - DEMANDS_KEPT
        connection.execute(sa.delete(forgotten).where(late))
    return gone


class Retention:
    """Prunes when a day has passed since any process did."""

    def __init__(self, store: Store, keep_for: float | None) -> None:
        """`keep_for`: seconds; None keeps everything."""
        self._store, self._keep_for = store, keep_for
        self._next = time.monotonic() + FIRST_AFTER

    def __call__(self) -> None:
        """Prune if it is due. Raises DatabaseFailing."""
        if self._keep_for is None or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + FIRST_AFTER
        now = datetime.now(UTC)
        if not _claimed(self._store, now):
            return
        gone = prune(self._store, now - timedelta(seconds=self._keep_for))
        _set_due(self._store, now + DAILY)
        if gone.total():
            logs.info("old records were deleted", **gone)


def _claimed(store: Store, now: datetime) -> bool:
    """Whether it is due and this process, no other, is to do it."""
    with store.writing() as connection:
        first = {"key": DUE, "value": datetime.min.replace(tzinfo=UTC).isoformat()}
        connection.execute(engines.insert_once(connection.dialect.name, settings), first)
        due = sa.and_(settings.c.key == DUE, settings.c.value <= now.isoformat())
        claim = sa.update(settings).where(due).values(value=(now + LEASE).isoformat())
        return connection.execute(claim).rowcount == 1


def _set_due(store: Store, when: datetime) -> None:
    with store.writing() as connection:
        connection.execute(sa.update(settings).where(settings.c.key == DUE).values(value=when.isoformat()))
