"""Exchanges one after the other: pages of a list, newest first, and every row for an export, oldest first.

A page ends with a cursor that names its last exchange, so pages do not shift while new ones arrive, and
each is a short transaction of its own.
"""

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection

from aibridge.nouns import Filter
from aibridge.records import summaries
from aibridge.records.failures import RecordsError
from aibridge.records.figures import TOKENS
from aibridge.records.narrowing import ERRORS, conditions
from aibridge.records.storable import storable
from aibridge.records.tables import exchanges, prompts, token_usages, tool_calls

if TYPE_CHECKING:
    from aibridge.records.store import Store

BATCH = 500
"""Exchanges that an export reads at a time."""
Row = Mapping[str, Any]
Place = tuple[datetime, str]


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list of exchanges."""

    exchanges: list[Row]
    next: str | None
    """What asks for the page after it; None at the end."""


def page(connection: Connection, wanted: Filter, cursor: str | None = None, limit: int = 50) -> Page:
    """At most `limit` exchanges, newest first, from `cursor` on. Raises RecordsError for a wrong cursor."""
    beyond: ColumnElement[bool] = exchanges.c.started_at.is_not(None)
    if cursor is not None:
        beyond = _beyond(read_cursor(cursor), newer=False)
    order = (exchanges.c.started_at.desc(), exchanges.c.id.desc())
    found: list[Row] = []
    for one in _single(wanted):
        found += _rows(connection, reversed(_parts(connection, one)), beyond, order, limit + 1)
    found.sort(key=lambda row: (row["started_at"], row["id"]), reverse=True)
    found = _summed(connection, found[: limit + 1])
    more = len(found) > limit
    return Page(found[:limit], write_cursor(found[limit - 1]) if more else None)


def newer(connection: Connection, wanted: Filter, after: Place, limit: int = BATCH) -> list[Row]:
    """At most `limit` exchanges after that place, oldest first."""
    order, beyond = (exchanges.c.started_at, exchanges.c.id), _beyond(after, newer=True)
    return _summed(connection, _rows(connection, _parts(connection, wanted), beyond, order, limit))


def these(connection: Connection, ids: list[str]) -> list[Row]:
    """The exchanges with these ids."""
    query = sa.select(exchanges).where(exchanges.c.id.in_(ids)).order_by(exchanges.c.started_at)
    return _summed(connection, [dict(row) for row in connection.execute(query).mappings()])


def export(store: "Store", wanted: Filter) -> Iterator[Row]:
    """Every exchange with its sums, its prompt where it is kept, oldest first; BATCH of them in memory.

    Without a period, those of which nobody knows when they began come last.
    Raises DatabaseFailing.
    """
    place: Place = (datetime(1, 1, 1, tzinfo=UTC), "")
    always = wanted.since is None and wanted.until is None
    while True:
        with store.reading() as connection:
            rows = newer(connection, wanted, place)
            texts = _prompts(connection, [row["id"] for row in rows])
        for row in rows:
            yield {**row, "prompt": texts.get(row["id"])}
        if len(rows) < BATCH:
            break
        place = (rows[-1]["started_at"], rows[-1]["id"])
        wanted = replace(wanted, since=place[0])
    if always:
        yield from _without_beginning(store, wanted)


def _without_beginning(store: "Store", wanted: Filter) -> Iterator[Row]:
    """Exchanges that ended, and whose beginning was lost; in the order of their ids."""
    wanted, last = replace(wanted, since=None), ""
    while True:
        lost = (exchanges.c.started_at.is_(None), exchanges.c.id > last, *conditions(wanted))
        with store.reading() as connection:
            query = sa.select(exchanges).where(*lost).order_by(exchanges.c.id).limit(BATCH)
            rows = _summed(connection, [dict(row) for row in connection.execute(query).mappings()])
        yield from ({**row, "prompt": None} for row in rows)
        if len(rows) < BATCH:
            return
        last = rows[-1]["id"]


EXPORTED = (*(column.name for column in exchanges.c), *TOKENS, "cost_micros", "calls", "prompt")
"""The columns of an export."""


def write_cursor(row: Row) -> str:
    """The place of `row`, as text that nobody has to understand."""
    plain = f"{row['started_at'].astimezone(UTC).isoformat()} {row['id']}"
    return base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> Place:
    """What `write_cursor` wrote. Raises RecordsError."""
    try:
        plain = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True).decode()
        when, _, name = plain.partition(" ")
        place = datetime.fromisoformat(when), name
    except (binascii.Error, ValueError):
        place = datetime.min, ""
    if place[0].utcoffset() != timedelta(0) or not place[1] or storable(place[1]) != place[1]:
        raise RecordsError("this is no cursor of aibridge; take the `next` of a page as it is")
    return place


def _beyond(place: Place, *, newer: bool) -> ColumnElement[bool]:
    """After (or before) that place in the order of time and id."""
    started, name = place
    time, key = exchanges.c.started_at, exchanges.c.id
    if newer:
        return sa.and_(time >= started, sa.or_(time > started, key > name))
    return sa.and_(time <= started, sa.or_(time < started, key < name))


def _single(wanted: Filter) -> list[Filter]:
    """`wanted` with one status each: an index has the exchanges of one status in their order."""
    return [replace(wanted, status=each) for each in ERRORS] if wanted.status == "error" else [wanted]


def _parts(connection: Connection, wanted: Filter) -> list[Filter]:
    """`wanted` in the periods that may hold such exchanges, in order."""
    periods = summaries.periods(connection, wanted)
    return [replace(wanted, since=since, until=until) for since, until in periods]


def _rows(
    connection: Connection,
    parts: Iterable[Filter],
    beyond: ColumnElement[bool],
    order: tuple[ColumnElement[Any], ...],
    limit: int,
) -> list[Row]:
    """The first `limit` rows of `parts`, one after the other."""
    found: list[Row] = []
    for wanted in parts:
        query = sa.select(exchanges).where(*conditions(wanted), beyond).order_by(*order)
        found += (dict(row) for row in connection.execute(query.limit(limit - len(found))).mappings())
        if len(found) >= limit:
            break
    return found


def _summed(connection: Connection, found: list[Row]) -> list[Row]:
    """Exchanges with the sums of their rounds and the number of their calls."""
    ids = [row["id"] for row in found]
    key = token_usages.c.exchange_id
    sums = [sa.func.sum(token_usages.c[name]).label(name) for name in (*TOKENS, "cost_micros")]
    usage = sa.select(key.label("of"), *sums).where(key.in_(ids)).group_by(key)
    tokens = {row["of"]: _whole(row) for row in connection.execute(usage).mappings()}
    called = tool_calls.c.exchange_id
    counted = sa.select(called, sa.func.count()).where(called.in_(ids)).group_by(called)
    calls = {row[0]: row[1] for row in connection.execute(counted)}
    nothing = {**dict.fromkeys(TOKENS, 0), "cost_micros": None}
    return [{**row, **tokens.get(row["id"], nothing), "calls": calls.get(row["id"], 0)} for row in found]


def _whole(row: sa.RowMapping) -> dict[str, int | None]:
    """PostgreSQL sums to decimals."""
    return {name: None if row[name] is None else int(row[name]) for name in (*TOKENS, "cost_micros")}


def _prompts(connection: Connection, ids: list[str]) -> dict[str, str]:
    found = connection.execute(sa.select(prompts).where(prompts.c.exchange_id.in_(ids)))
    return {row.exchange_id: row.text for row in found}
