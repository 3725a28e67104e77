"""Figures counted from the rows of exchanges, rounds and calls, a query each."""

from collections import defaultdict
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection, Select

from aibridge.nouns import Filter
from aibridge.records.figures import TIMES, TOKENS, Sums, packed
from aibridge.records.narrowing import (
    ERRORS,
    FINE,
    GROUPS,
    OF_CALLS,
    call_conditions,
    conditions,
    unindexed,
)
from aibridge.records.tables import exchanges, token_usages, tool_calls

Found = dict[str | None, Sums]
_WITH_CALLS = exchanges.join(tool_calls, tool_calls.c.exchange_id == unindexed(exchanges.c.id))


def from_rows(connection: Connection, by: str | None, wanted: Filter, *more: ColumnElement[bool]) -> Found:
    """The figures by `by`, or of all as one group, counted from the rows."""
    found: Found = {}
    where = [*conditions(wanted), *more]
    if by is not None and by in OF_CALLS:
        where += call_conditions(wanted)
        _counted(connection, found, _of_calls(OF_CALLS[by], where))
        _timed(
            connection,
            found,
            _times(OF_CALLS[by], tool_calls.c.duration_ms, where, of_calls=True),
            "duration",
        )
        return found
    group: ColumnElement[Any] = GROUPS[by] if by else sa.null()
    for query in (_of_exchanges(group, where), _of_rounds(group, where), _calls(group, where)):
        _counted(connection, found, query)
    micros = sa.cast(sa.func.round(exchanges.c.overhead_ms * 1000), sa.BigInteger)
    for name, value in (("first_byte", exchanges.c.first_byte_ms), ("overhead", micros)):
        _timed(connection, found, _times(group, value, where), name)
    return found


def _of_exchanges(group: ColumnElement[Any], where: list[ColumnElement[bool]]) -> Select[Any]:
    failed = sa.func.sum(sa.case((exchanges.c.status.in_(ERRORS), 1), else_=0))
    named = (group.label("group_name"), sa.func.count().label("exchanges"), failed.label("errors"))
    return sa.select(*named).select_from(exchanges).where(*where).group_by("group_name")


def _of_rounds(group: ColumnElement[Any], where: list[ColumnElement[bool]]) -> Select[Any]:
    unknown = sa.and_(token_usages.c.cost_micros.is_(None), token_usages.c.source != "missing")
    sums = [sa.func.sum(token_usages.c[name]).label(name) for name in (*TOKENS, "cost_micros")]
    unpriced = sa.func.sum(sa.case((unknown, 1), else_=0)).label("unpriced")
    priced = sa.func.count(token_usages.c.cost_micros).label("priced")
    joined = exchanges.join(token_usages, token_usages.c.exchange_id == unindexed(exchanges.c.id))
    named = (group.label("group_name"), *sums, unpriced, priced)
    return sa.select(*named).select_from(joined).where(*where).group_by("group_name")


def _calls(group: ColumnElement[Any], where: list[ColumnElement[bool]]) -> Select[Any]:
    named = (group.label("group_name"), sa.func.count().label("calls"))
    return sa.select(*named).select_from(_WITH_CALLS).where(*where).group_by("group_name")


def _of_calls(group: ColumnElement[Any], where: list[ColumnElement[bool]]) -> Select[Any]:
    failed = sa.func.sum(sa.case((tool_calls.c.status.not_in(FINE), 1), else_=0))
    named = (
        group.label("group_name"),
        sa.func.count(tool_calls.c.exchange_id.distinct()).label("exchanges"),
        failed.label("errors"),
        sa.func.count().label("calls"),
    )
    return sa.select(*named).select_from(_WITH_CALLS).where(*where).group_by("group_name")


def _times(
    group: ColumnElement[Any],
    value: ColumnElement[Any],
    where: list[ColumnElement[bool]],
    *,
    of_calls: bool = False,
) -> Select[Any]:
    """Every time that is known; of the client's calls nobody knows how long they took."""
    known = tool_calls.c.injected.is_(True) if of_calls else value.is_not(None)
    source = _WITH_CALLS if of_calls else exchanges
    return sa.select(group, value).select_from(source).where(*where, known)


def _counted(connection: Connection, found: Found, query: Select[Any]) -> None:
    for row in connection.execute(query).mappings().all():
        sums = _sums(found, row["group_name"])
        for name, value in row.items():
            if name != "group_name":
                sums.count(name, int(value or 0))  # PostgreSQL sums to decimals


def _timed(connection: Connection, found: Found, query: Select[Any], name: str) -> None:
    values: dict[Any, list[int]] = defaultdict(list)
    for group, value in connection.execute(query).all():
        values[group].append(value)
    for group, each in values.items():
        _sums(found, group).times.append([packed(each) if kind == name else None for kind in TIMES])


def _sums(found: Found, group: Any) -> Sums:
    return found.setdefault(None if group is None else str(group), Sums())
