"""What questions to the records share: groups, and filters as conditions. SQL of both databases.

Models are as they were asked for; days are of UTC.
"""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, get_args

import sqlalchemy as sa
from sqlalchemy import ColumnElement
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction

from aibridge.nouns import By, Filter
from aibridge.records.storable import storable
from aibridge.records.tables import exchanges, tool_calls

ERRORS = ("failed", "interrupted")
FINE = ("ok", "relayed")


class utc_day(GenericFunction[str]):
    """The day of a time, `2026-01-31`."""

    type = sa.Text()
    inherit_cache = True


@compiles(utc_day)
def _utc_day(element: utc_day, compiler: SQLCompiler, **more: Any) -> str:
    return f"date({compiler.process(element.clauses, **more)})"  # SQLite keeps UTC


@compiles(utc_day, "postgresql")
def _utc_day_postgresql(element: utc_day, compiler: SQLCompiler, **more: Any) -> str:
    return f"to_char(timezone('UTC', {compiler.process(element.clauses, **more)}), 'YYYY-MM-DD')"


class unindexed(GenericFunction[Any]):
    """A column as it is, kept from choosing an index.

    SQLite would read the whole of one that has the order of a group, or all rounds for some exchanges.
    """

    type = sa.Text()
    inherit_cache = True


@compiles(unindexed)
def _unindexed(element: unindexed, compiler: SQLCompiler, **more: Any) -> str:
    return f"+{compiler.process(element.clauses, **more)}"


@compiles(unindexed, "postgresql")
def _unindexed_postgresql(element: unindexed, compiler: SQLCompiler, **more: Any) -> str:
    return compiler.process(element.clauses, **more)


COLUMNS: Mapping[str, ColumnElement[Any]] = {
    "model": exchanges.c.model,
    "user": exchanges.c.user,
    "key": exchanges.c.key_id,
    "client": exchanges.c.client,
    "upstream": exchanges.c.upstream,
    "caller": exchanges.c.caller,
    "session": exchanges.c.session_id,
}
"""Properties of an exchange that totals are unindexed, and exchanges narrowed by."""
_OWN_NAME = sa.func.coalesce(tool_calls.c.tool, tool_calls.c.name)
OF_CALLS: Mapping[str, ColumnElement[Any]] = {
    "tool": sa.case((tool_calls.c.server.is_(None), _OWN_NAME), else_=tool_calls.c.server + "/" + _OWN_NAME),
    "server": tool_calls.c.server,
}
"""Properties of a call: `server/tool`, the client's own tools by their name."""
GROUPS: Mapping[str, ColumnElement[Any]] = {
    **{name: unindexed(column) for name, column in COLUMNS.items()},
    "day": utc_day(exchanges.c.started_at),
}
BY: tuple[str, ...] = get_args(By)
"""What totals are unindexed by."""


def narrowed_by(wanted: Filter) -> set[str]:
    """The properties that `wanted` names, its period excepted."""
    names = (each.name for each in fields(wanted) if each.name not in ("since", "until"))
    return {name for name in names if getattr(wanted, name) is not None}


def conditions(wanted: Filter) -> Iterator[ColumnElement[bool]]:
    """What holds for the exchanges that are meant."""
    started = exchanges.c.started_at
    if wanted.since is not None:
        yield started >= wanted.since
    if wanted.until is not None:
        yield started < wanted.until
    for name, column in COLUMNS.items():
        if (value := getattr(wanted, name)) is not None:
            yield column == storable(value)
    if wanted.status is not None:
        yield exchanges.c.status.in_(ERRORS if wanted.status == "error" else (wanted.status,))
    if of_calls := list(call_conditions(wanted)):
        of_exchange = sa.select(1).where(tool_calls.c.exchange_id == exchanges.c.id, *of_calls)
        yield of_exchange.correlate(exchanges).exists()


def call_conditions(wanted: Filter) -> Iterator[ColumnElement[bool]]:
    """What holds for the calls that are meant."""
    for name, value in OF_CALLS.items():
        if (asked := getattr(wanted, name)) is not None:
            yield value == storable(asked)
