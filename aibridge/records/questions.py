"""What the command line and `/api` ask of the records: the same questions, each a short transaction.

Everything here blocks on the database.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection

from aibridge.nouns import Filter, Total, Usage
from aibridge.records import auditing, listing, queries, summaries
from aibridge.records.exporting import written
from aibridge.records.narrowing import conditions
from aibridge.records.pricing import Prices
from aibridge.records.store import Store
from aibridge.records.tables import exchanges, token_usages
from aibridge.records.totals import totals

T = TypeVar("T")
PRICED_AT_A_TIME = 1000


class Questions:
    """Questions to a store. All raise DatabaseFailing; RecordsError for what is not there or is no cursor."""

    def __init__(self, store: Store, prices: Prices) -> None:
        self._store, self._prices = store, prices

    def totals(self, by: str, wanted: Filter, most: int | None = None) -> list[Total]:
        """See `totals.totals`."""
        return self._read(lambda connection: totals(connection, by, wanted, most))

    def page(self, wanted: Filter, cursor: str | None, limit: int) -> listing.Page:
        """See `listing.page`."""
        return self._read(lambda connection: listing.page(connection, wanted, cursor, limit))

    def story(self, name: str) -> queries.Story:
        """See `queries.exchange`."""
        return self._read(lambda connection: queries.exchange(connection, name))

    def newer(self, wanted: Filter, place: listing.Place) -> list[listing.Row]:
        """See `listing.newer`."""
        return self._read(lambda connection: listing.newer(connection, wanted, place))

    def these(self, ids: list[str]) -> list[listing.Row]:
        """The exchanges with these ids."""
        return self._read(lambda connection: listing.these(connection, ids))

    def written(self, wanted: Filter, form: str) -> Iterator[str]:
        """An export in pieces of text, `csv` or `jsonl`."""
        return written(listing.export(self._store, wanted), form)

    def reprice(self, wanted: Filter, actor: str) -> tuple[int, int]:
        """Price rounds whose price was unknown: how many have one now, and how many still have none.

        `actor` wants it, for the audit.
        """
        priced = unknown = 0
        place = ("", 0)
        while rounds := self._unpriced(wanted, place):
            changed = [row for each in rounds if (row := self._priced(each)) is not None]
            self._write(changed)
            priced, unknown = priced + len(changed), unknown + len(rounds) - len(changed)
            place = rounds[-1]["exchange_id"], rounds[-1]["round"]
        auditing.note(self._store, actor, "records.reprice", "rounds", {"priced": priced, "unknown": unknown})
        return priced, unknown

    def _unpriced(self, wanted: Filter, place: tuple[str, int]) -> list[listing.Row]:
        return self._read(lambda connection: _unpriced(connection, wanted, place))

    def _priced(self, row: listing.Row) -> dict[str, Any] | None:
        names = ("input", "cache_read", "cache_write", "output", "reasoning", "audio_input", "audio_output")
        usage = Usage(**{name: row[name] for name in names}, other=row["other"] or {}, source=row["source"])
        when = row["started_at"] or datetime.now(UTC)
        cost = self._prices.cost(row["model"], row["upstream"], usage, when, row["asked"])
        if cost.source == "unknown":
            return None
        key = {"exchange": row["exchange_id"], "number": row["round"]}
        return {**key, "micros": cost.micros, "priced_by": cost.source}

    def _write(self, changed: list[dict[str, Any]]) -> None:
        if not changed:
            return
        table = token_usages
        this = (table.c.exchange_id == sa.bindparam("exchange"), table.c.round == sa.bindparam("number"))
        values: dict[str, Any] = {
            "cost_micros": sa.bindparam("micros"),
            "price_source": sa.bindparam("priced_by"),
        }
        with self._store.writing() as connection:
            summaries.outdate_of(connection, exchanges.c.id.in_([row["exchange"] for row in changed]))
            connection.execute(sa.update(table).where(*this).values(values), changed)

    def _read(self, ask: Callable[[Connection], T]) -> T:
        with self._store.reading() as connection:
            return ask(connection)


def _unpriced(connection: Connection, wanted: Filter, place: tuple[str, int]) -> list[listing.Row]:
    """Rounds with tokens and no price after `place`, with what a price needs of their exchange."""
    table = token_usages
    key = sa.tuple_(table.c.exchange_id, table.c.round)
    query = (
        sa.select(table, exchanges.c.upstream, exchanges.c.started_at, exchanges.c.model.label("asked"))
        .join(exchanges, exchanges.c.id == table.c.exchange_id)
        .where(table.c.price_source == "unknown", table.c.source != "missing", *conditions(wanted))
        .where(key > sa.tuple_(*(sa.literal(each) for each in place)))
        .order_by(table.c.exchange_id, table.c.round)
        .limit(PRICED_AT_A_TIME)
    )
    return [dict(row) for row in connection.execute(query).mappings()]
