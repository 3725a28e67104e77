"""Totals by a property: from the summaries of past days where these know enough, else from the rows.

A summary knows one property at a time, so a question by one property that narrows by another is answered
from the rows alone.
"""

from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from aibridge.nouns import Filter, Total
from aibridge.records.counting import Found, from_rows
from aibridge.records.figures import Sums, put
from aibridge.records.narrowing import GROUPS, OF_CALLS
from aibridge.records.summaries import summarised
from aibridge.records.tables import exchanges

Group = tuple[str | None, Sums]


def totals(
    connection: Connection, by: str, wanted: Filter | None = None, most: int | None = None
) -> list[Total]:
    """The figures of the exchanges that are `wanted`, one group of `by` (one of BY) each; `most` at most.

    Days in their order, tools and servers by calls, other groups by tokens, most first. Raises KeyError for
    an unknown `by`.
    """
    wanted = wanted or Filter()
    if by not in GROUPS and by not in OF_CALLS:
        raise KeyError(by)
    of_tools = by in OF_CALLS
    order = _by_name if by == "day" else _by_calls if of_tools else _by_tokens
    found = sorted(_found(connection, by, wanted).items(), key=order)
    return [sums.total(group, of_tools=of_tools) for group, sums in found[:most]]


def _found(connection: Connection, by: str, wanted: Filter) -> Found:
    answer = summarised(connection, by, wanted)
    if answer is None:
        return from_rows(connection, by, wanted)
    found = answer.found
    parts = [from_rows(connection, by, replace(wanted, since=a, until=b)) for a, b in answer.gaps]
    every = (None, None)
    if every == (wanted.since, wanted.until) and every not in answer.gaps:
        # ended, but their beginning was lost
        parts.append(from_rows(connection, by, wanted, exchanges.c.started_at.is_(None)))
    for part in parts:
        for group, sums in part.items():
            put(found, group, sums)
    return found


def _by_name(group: Group) -> tuple[Any, ...]:
    return (group[0] or "",)


def _by_calls(group: Group) -> tuple[Any, ...]:
    return (-group[1].counted("calls"), group[0] or "")


def _by_tokens(group: Group) -> tuple[Any, ...]:
    name, sums = group
    return (-sums.tokens, -sums.counted("exchanges"), name or "")
