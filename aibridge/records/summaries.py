"""Summaries of days that are over: the figures of each group of each property, made once, then only read.

A day is summarised when no exchange of it runs. What changes its rows later says so in the same transaction
(`outdate`), and a version keeps a summary that was being made meanwhile from being kept. So a summary never
differs from its rows; a day without one is counted from the rows.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection, Select

from aibridge.nouns import Filter
from aibridge.records import engines
from aibridge.records.counting import Found, from_rows
from aibridge.records.figures import COUNTS, TIMES, Sums, joined, put
from aibridge.records.narrowing import COLUMNS, OF_CALLS, narrowed_by, utc_day
from aibridge.records.storable import storable
from aibridge.records.tables import exchanges, summaries, summary_days

if TYPE_CHECKING:
    from aibridge.records.store import Store

ALL = "all"
PROPERTIES = (ALL, *COLUMNS, *OF_CALLS)
"""What a day is summarised by."""
UNINDEXED = ("client", "upstream", *OF_CALLS)
SETTLED = timedelta(minutes=5)
"""After midnight, until the journals of all processes are folded; later entries outdate the summary."""
ONE_DAY = timedelta(days=1)
Period = tuple[datetime | None, datetime | None]


@dataclass(slots=True)
class Answer:
    """What summaries know of a question, and which times they do not cover."""

    found: Found
    gaps: list[Period]


def summarised(connection: Connection, by: str, wanted: Filter) -> Answer | None:
    """What summaries know of the totals by `by`; None where the question is not theirs."""
    narrowed = narrowed_by(wanted)
    if by == "day":
        known = narrowed <= {*COLUMNS} and len(narrowed) <= 1
        kept_by = next(iter(narrowed), ALL)
    else:
        known, kept_by = narrowed <= {by}, by
    if not known:
        return None
    days = _days(connection, wanted)
    value = storable(getattr(wanted, kept_by)) if narrowed else None
    found: Found = {}
    end = 2 + len(COUNTS)
    for row in _rows(connection, kept_by, value, days):
        put(found, row[0] if by == "day" else row[1], Sums(list(row[2:end]), [row[end:]]))
    return Answer(found, list(_gaps(wanted, days)))


def periods(connection: Connection, wanted: Filter) -> list[Period]:
    """The times in which exchanges that are `wanted` may have begun, in order.

    By properties that no index of exchanges has, summaries tell on which days there was none.
    """
    without: set[str] = set()
    for name in UNINDEXED:
        if (value := getattr(wanted, name)) is not None:
            group = (summaries.c.property == name, summaries.c.group_name == storable(value))
            holds = sa.exists().where(summaries.c.day == summary_days.c.day, *group)
            without.update(connection.scalars(_covered(wanted).where(~holds)))
    return list(_gaps(wanted, sorted(without)))


def summarise_one(store: "Store", now: datetime, between: Callable[[], None] = lambda: None) -> bool:
    """Summarise the newest day that is over and has no summary; whether there was one.

    It takes seconds where a day has many exchanges; `between` is called a dozen times.
    Raises DatabaseFailing.
    """
    with store.reading() as connection:
        day = next(_missing(connection, now), None)
    if day is None:
        return False
    with store.writing() as connection:
        row = {"day": str(day.date()), "version": 0, "made": False}
        connection.execute(engines.insert_once(connection.dialect.name, summary_days), row)
    with store.reading() as connection:
        version, rows = _version(connection, day), list(_made(connection, day, between))
    with store.writing() as connection:
        this = summary_days.c.day == str(day.date())
        kept = sa.update(summary_days).where(this, summary_days.c.version == version).values(made=True)
        if connection.execute(kept).rowcount:
            connection.execute(sa.delete(summaries).where(summaries.c.day == str(day.date())))
            if rows:
                connection.execute(sa.insert(summaries), rows)
    return True


def outdate(connection: Connection, days: Collection[str]) -> None:
    """Rows of these days have changed; within the transaction that changed them."""
    if not days:
        return
    connection.execute(
        engines.insert_once(connection.dialect.name, summary_days),
        [{"day": day, "version": 0, "made": False} for day in sorted(days)],
    )
    which = summary_days.c.day.in_(days)
    connection.execute(
        sa.update(summary_days).where(which).values(made=False, version=summary_days.c.version + 1)
    )
    connection.execute(sa.delete(summaries).where(summaries.c.day.in_(days)))


def outdate_of(connection: Connection, *which: ColumnElement[bool]) -> None:
    """Exchanges with these conditions are about to change or go; within that transaction."""
    days = connection.scalars(sa.select(utc_day(exchanges.c.started_at)).where(*which).distinct())
    outdate(connection, [day for day in days if day is not None])


def past_days(ids: Collection[str], now: datetime) -> set[str]:
    """The days before `now`'s to which exchanges with these ids belong.

    Ids tell their time (UUIDv7); what is no such id is taken to be of today.
    """
    first = id_at(datetime(now.year, now.month, now.day, tzinfo=UTC))
    if not ids or min(ids) >= first:
        return set()
    return {day for each in ids if each < first and (day := _id_day(each)) is not None}


def id_at(when: datetime) -> str:
    """The least id of an exchange that begins then."""
    text = f"{int(when.timestamp() * 1000):012x}"
    return f"{text[:8]}-{text[8:]}"


def _id_day(exchange: str) -> str | None:
    try:
        millis = int(exchange[:8] + exchange[9:13], 16)
        return str(datetime.fromtimestamp(millis / 1000, UTC).date())
    except (ValueError, OverflowError, OSError):
        return None


def _missing(connection: Connection, now: datetime) -> Iterator[datetime]:
    """Days with exchanges that are over and not summarised, newest first."""
    made = set(connection.scalars(sa.select(summary_days.c.day).where(summary_days.c.made)))
    end = _midnight(now - SETTLED)
    newest = sa.select(sa.func.max(exchanges.c.started_at))
    while last := connection.scalar(newest.where(exchanges.c.started_at < end)):
        day = _midnight(last)
        if str(day.date()) not in made and not _runs(connection, day):
            yield day
        end = day


def _runs(connection: Connection, day: datetime) -> bool:
    started = exchanges.c.started_at
    of_day = (started >= day, started < day + ONE_DAY, exchanges.c.status == "running")
    return connection.scalar(sa.select(sa.exists().where(*of_day))) is True


def _version(connection: Connection, day: datetime) -> int:
    query = sa.select(summary_days.c.version).where(summary_days.c.day == str(day.date()))
    return int(connection.scalar(query) or 0)


def _made(connection: Connection, day: datetime, between: Callable[[], None]) -> Iterator[dict[str, Any]]:
    of_day = Filter(since=day, until=day + ONE_DAY)
    for name in PROPERTIES:
        between()
        found = from_rows(connection, None if name == ALL else name, of_day)
        for number, (group, sums) in enumerate(found.items()):
            key = {"property": name, "day": str(day.date()), "number": number}
            times = {name: joined(sums.parts(name)) or None for name in TIMES}
            yield {**key, "group_name": group, **dict(zip(COUNTS, sums.counts, strict=True)), **times}


def _days(connection: Connection, wanted: Filter) -> list[str]:
    return list(connection.scalars(_covered(wanted)))


def _covered(wanted: Filter) -> Select[Any]:
    """The summarised days that are whole within the period, in order."""
    query = sa.select(summary_days.c.day).where(summary_days.c.made).order_by(summary_days.c.day)
    if wanted.since is not None:
        first = _midnight(wanted.since)
        first = first if first == wanted.since else first + ONE_DAY
        query = query.where(summary_days.c.day >= str(first.date()))
    if wanted.until is not None:
        query = query.where(summary_days.c.day < str(_midnight(wanted.until).date()))
    return query


def _rows(connection: Connection, kept_by: str, value: str | None, days: list[str]) -> Iterator[Any]:
    if not days:
        return
    columns = [summaries.c[name] for name in ("day", "group_name", *COUNTS, *TIMES)]
    within = (summaries.c.day >= days[0], summaries.c.day <= days[-1])
    query = sa.select(*columns).where(summaries.c.property == kept_by, *within)
    if value is not None:
        query = query.where(summaries.c.group_name == value)
    covered = frozenset(days)
    yield from (row for row in connection.execute(query).all() if row[0] in covered)


def _gaps(wanted: Filter, days: list[str]) -> Iterator[Period]:
    """The times of the period that `days` leave out."""
    at = wanted.since
    for day in days:
        begins = datetime.fromisoformat(day).replace(tzinfo=UTC)
        if at is None or at < begins:
            yield at, begins
        at = begins + ONE_DAY
    if at is None or wanted.until is None or at < wanted.until:
        yield at, wanted.until


def _midnight(when: datetime) -> datetime:
    utc = when.astimezone(UTC)
    return datetime(utc.year, utc.month, utc.day, tzinfo=UTC)
