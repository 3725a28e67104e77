"""Forgets everything of one user, caller or key: what is in the database, and what is still to come into it.

Journals of living processes may hold facts of them, and exchanges of theirs may run. So a demand is kept for
a while, and each fold deletes, in its own transaction, the ended exchanges that a demand meets, and what
they kept beside the records until they ended.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import Column, ColumnElement, Connection, Table

from aibridge.records import engines
from aibridge.records.deleting import BATCH, KEYS, delete_exchanges
from aibridge.records.storable import storable
from aibridge.records.tables import answer_ids, exchanges, forgotten, hidden_turns

if TYPE_CHECKING:
    from aibridge.records.store import Store

OF_EXCHANGES: Mapping[str, Column[str]] = {
    "user": exchanges.c.user,
    "caller": exchanges.c.caller,
    "key_id": exchanges.c.key_id,
}
OWNED: Mapping[str, str] = {"user": "user", "caller": "caller", "key_id": "caller"}
"""By which column of what rests beside the records."""
ANY_DEMAND = "SELECT 1 FROM forgotten LIMIT 1"
DEMANDS = sa.select(forgotten).where(forgotten.c.property.in_(list(OF_EXCHANGES)))
BESIDE: Sequence[Table] = (hidden_turns, answer_ids)


@dataclass(frozen=True, slots=True)
class Whom:
    """Whose rows: `property` is one of OF_EXCHANGES, `value` as the records have it."""

    property: str
    value: str

    @classmethod
    def named(cls, property: str, value: str) -> "Whom":
        """Who is named so in requests."""
        return cls(property, storable(value))


def count(connection: Connection, whom: Whom) -> Counter[str]:
    """How many rows of which table are theirs."""
    theirs = sa.select(exchanges.c.id).where(OF_EXCHANGES[whom.property] == whom.value)
    found = {table.name: _count(connection, key.in_(theirs)) for table, key in KEYS.items()}
    kept = {table.name: _count(connection, _owned(table, whom)) for table in BESIDE}
    return Counter({**found, **kept})


def forget(store: "Store", whom: Whom) -> Counter[str]:
    """Delete all rows of `whom`, and those that are still to come; how many rows of which table there were.

    What an exchange that runs has not told yet goes with its end. Raises DatabaseFailing.
    """
    _demand(store, whom)
    gone: Counter[str] = Counter()
    theirs = OF_EXCHANGES[whom.property] == whom.value
    ended = sa.select(exchanges.c.id).where(theirs, exchanges.c.status != "running").limit(BATCH)
    while True:
        with store.writing() as connection:
            if not (ids := list(connection.scalars(ended))):
                break
            gone.update(delete_exchanges(connection, ids))
    with store.writing() as connection:
        running = sa.select(exchanges.c.id).where(theirs)
        for table, key in KEYS.items():
            if table is not exchanges:  # it says whose the rest is that comes
                gone[table.name] += connection.execute(sa.delete(table).where(key.in_(running))).rowcount
        for table in BESIDE:
            gone[table.name] += connection.execute(sa.delete(table).where(_owned(table, whom))).rowcount
    return gone


def sweep(connection: Connection, ids: Callable[[], Collection[str]]) -> None:
    """Delete those of the exchanges `ids` that a demand meets; in the transaction that folded them."""
    if connection.exec_driver_sql(ANY_DEMAND).first() is None:  # nearly always
        return
    if not (demands := connection.execute(DEMANDS).all()):
        return
    meets = sa.or_(*(_meets(each) for each in demands))
    for some in _batches(list(ids())):
        among = sa.and_(exchanges.c.id.in_(some), exchanges.c.status != "running")
        if found := list(connection.scalars(sa.select(exchanges.c.id).where(among, meets))):
            for each in demands:
                _forget_kept(connection, each, sa.and_(among, _meets(each)))
            delete_exchanges(connection, found)


def _meets(demand: Any) -> ColumnElement[bool]:
    """Exchanges that a demand is about."""
    return sa.and_(OF_EXCHANGES[demand.property] == demand.value, exchanges.c.started_at < demand.before)


def _forget_kept(connection: Connection, demand: Any, met: ColumnElement[bool]) -> None:
    """Delete what the exchanges that are `met` kept before they ended: it does not say which of them did."""
    ends = [
        ended or datetime.now(UTC) for ended in connection.scalars(sa.select(exchanges.c.ended_at).where(met))
    ]
    if ends:
        whom = Whom(demand.property, demand.value)
        for table in BESIDE:
            kept = sa.and_(_owned(table, whom), table.c.kept_at <= max(ends))
            connection.execute(sa.delete(table).where(kept))


def _owned(table: Table, whom: Whom) -> ColumnElement[bool]:
    return table.c[OWNED[whom.property]] == whom.value


def _demand(store: "Store", whom: Whom) -> None:
    """From here on every fold knows; those that did not have committed."""
    row = {"property": whom.property, "value": whom.value, "before": datetime.now(UTC)}
    with store.writing() as connection:
        store.database.alone(connection)
        connection.execute(engines.upsert(connection.dialect.name, forgotten, row.keys(), ()), row)


def _count(connection: Connection, which: ColumnElement[bool]) -> int:
    return int(connection.scalar(sa.select(sa.func.count()).where(which)) or 0)


def _batches(ids: list[str]) -> Iterator[list[str]]:
    for at in range(0, len(ids), BATCH):
        yield ids[at : at + BATCH]
