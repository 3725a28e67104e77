"""One exchange whole, and the run of an agent that it belongs to.

Works in a reading transaction of `Store.reading`; how it looks is left to the command line and the API, so
all values are plain: numbers, texts, times in UTC. Totals are in `totals`, lists in `listing`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection, Select

from aibridge.records.failures import RecordsError
from aibridge.records.storable import storable
from aibridge.records.tables import exchanges, failed_attempts, prompts, thoughts, token_usages, tool_calls

OF_RUN = ("id", "started_at", "ended_at", "status", "model", "client", "answers_call_id")
"""What is told of the other exchanges of a run."""
LONGEST_RUN = 100
"""Exchanges of a run that are told."""
LAST = "z" * 36
"""After all that may follow in an id, in the order of any language."""


@dataclass(frozen=True, slots=True)
class Story:
    """One exchange whole; rows by the columns of `tables`."""

    exchange: Mapping[str, Any]
    prompt: str | None = None
    rounds: list[Mapping[str, Any]] = field(default_factory=list)
    calls: list[Mapping[str, Any]] = field(default_factory=list)
    thoughts: list[Mapping[str, Any]] = field(default_factory=list)
    attempts: list[Mapping[str, Any]] = field(default_factory=list)
    """The failed ones."""
    run: list[Mapping[str, Any]] = field(default_factory=list)
    """Exchanges of the same agent run, itself among them; oldest first."""

    def plain(self) -> dict[str, Any]:
        """One object: the exchange's columns, and the rows of the other tables under their names."""
        rows = {
            "token_usages": self.rounds,
            "tool_calls": self.calls,
            "thoughts": self.thoughts,
            "failed_attempts": self.attempts,
            "run": [{name: each[name] for name in OF_RUN} for each in self.run],
        }
        return {**self.exchange, "prompt": self.prompt, **rows}


def exchange(connection: Connection, name: str) -> Story:
    """The exchange whose id is or begins with `name`, or the `last` one.

    Raises RecordsError where there is none, or more than one.
    """
    if not name:
        raise RecordsError("name an exchange by its id, by how that begins, or last")
    query = _last() if name == "last" else _beginning(storable(name.lower()))
    found = connection.execute(query.limit(2)).mappings().all()
    if not found:
        raise RecordsError("there is no exchange yet" if name == "last" else f"there is no exchange {name}")
    if len(found) > 1 and name != "last":
        raise RecordsError(f"more than one exchange begins with {name}; write more of its id")
    return _story(connection, dict(found[0]))


def _last() -> Select[Any]:
    order = (exchanges.c.started_at.desc().nulls_last(), exchanges.c.id.desc())
    return sa.select(exchanges).order_by(*order)


def _beginning(name: str) -> Select[Any]:
    """Exchanges whose ids begin with `name`; the bounds let the index of ids find them."""
    key = exchanges.c.id
    return sa.select(exchanges).where(key >= name, key <= name + LAST, key.startswith(name, autoescape=True))


def _story(connection: Connection, row: Mapping[str, Any]) -> Story:
    def rows(table: sa.Table, *order: ColumnElement[Any]) -> list[Mapping[str, Any]]:
        query = sa.select(table).where(table.c.exchange_id == row["id"]).order_by(*order)
        return [dict(each) for each in connection.execute(query).mappings()]

    told = rows(prompts)
    return Story(
        exchange=row,
        prompt=told[0]["text"] if told else None,
        rounds=rows(token_usages, token_usages.c.round),
        calls=rows(tool_calls, tool_calls.c.round, tool_calls.c.id),
        thoughts=rows(thoughts, thoughts.c.round),
        attempts=rows(failed_attempts, failed_attempts.c.number),
        run=run_of(connection, row),
    )


def run_of(connection: Connection, row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The exchanges of the agent run that exchange `row` is part of, oldest first; itself among them.

    Those that answer each other's tool calls, for one caller; in both directions, the nearest LONGEST_RUN.
    One whose beginning was lost stands alone.
    """
    if row["started_at"] is None:
        return [row]
    room = LONGEST_RUN - 1
    earlier, later = (list(islice(each(connection, row), room)) for each in (_earlier, _later))
    later = later[: max(room // 2, room - len(earlier))]
    return [*reversed(earlier[: room - len(later)]), row, *later]


def _earlier(connection: Connection, row: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The exchange that made the call which `row` answers, and so on."""
    while row["answers_call_id"] is not None:
        made = sa.select(tool_calls.c.exchange_id).where(tool_calls.c.call_id == row["answers_call_id"])
        before = (exchanges.c.caller == row["caller"], exchanges.c.started_at < row["started_at"])
        newest = sa.select(exchanges).where(exchanges.c.id.in_(made), *before)
        query = newest.order_by(exchanges.c.started_at.desc()).limit(1)
        if (earlier := connection.execute(query).mappings().first()) is None:
            return
        row = dict(earlier)
        yield row


def _later(connection: Connection, row: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The exchange that answers a call of `row`, and so on."""
    while True:
        calls = sa.select(tool_calls.c.call_id).where(tool_calls.c.exchange_id == row["id"])
        after = (exchanges.c.caller == row["caller"], exchanges.c.started_at > row["started_at"])
        oldest = sa.select(exchanges).where(exchanges.c.answers_call_id.in_(calls), *after)
        query = oldest.order_by(exchanges.c.started_at).limit(1)
        if (later := connection.execute(query).mappings().first()) is None:
            return
        row = dict(later)
        yield row
