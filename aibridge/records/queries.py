"""What is asked of the records: totals by a property, and one exchange whole.

Works in a reading transaction of `Store.reading`; how figures look is left to the command line and the
API, so all values are plain: numbers, texts, times in UTC.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection, Subquery

from aibridge.records.failures import RecordsError
from aibridge.records.tables import exchanges, failed_attempts, prompts, thoughts, token_usages, tool_calls

TOKENS = ("input", "cache_read", "cache_write", "output", "reasoning")
ERRORS = ("failed", "interrupted")
FINE = ("ok", "relayed")
GROUPS: Mapping[str, ColumnElement[Any]] = {
    "model": exchanges.c.model,
    "user": exchanges.c.user,
    "key": exchanges.c.key_id,
    "client": exchanges.c.client,
    "day": sa.func.date(exchanges.c.started_at),
    "upstream": exchanges.c.upstream,
    "caller": exchanges.c.caller,
}
"""What totals are grouped by, beside `tool`; models as they were asked for."""
BY = (*GROUPS, "tool")


@dataclass(frozen=True, slots=True)
class Total:
    """The figures of one group."""

    group: str | None
    """None where the exchanges say nothing."""
    exchanges: int
    errors: int
    """Exchanges that failed or were interrupted; by tool: calls without a good end."""
    calls: int
    input: int | None = None
    """Tokens without cache. Tokens and cost of a round are not split among its tools: None there."""
    cache_read: int | None = None
    cache_write: int | None = None
    output: int | None = None
    reasoning: int | None = None
    cost_micros: int | None = None
    """Micro-dollars; None where no price is known."""


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

    def plain(self) -> dict[str, Any]:
        """One object: the exchange's columns, and the rows of the other tables under their names."""
        rows = {
            "token_usages": self.rounds,
            "tool_calls": self.calls,
            "thoughts": self.thoughts,
            "failed_attempts": self.attempts,
        }
        return {**self.exchange, "prompt": self.prompt, **rows}


def totals(connection: Connection, by: str, since: datetime | None = None) -> list[Total]:
    """The figures of exchanges that started `since` then, one group of `by` (one of BY) each.

    Days in their order, other groups by tokens, most first. Raises KeyError for an unknown `by`.
    """
    if by == "tool":
        return _totals_by_tool(connection, since)
    group = GROUPS[by].label("group_name")
    usage, calls = _usage_per_exchange(since), _calls_per_exchange(since)
    failed = sa.case((exchanges.c.status.in_(ERRORS), 1), else_=0)
    query = (
        sa.select(
            group,
            sa.func.count().label("exchanges"),
            sa.func.sum(failed).label("errors"),
            sa.func.coalesce(sa.func.sum(calls.c.calls), 0).label("calls"),
            *(sa.func.coalesce(sa.func.sum(usage.c[name]), 0).label(name) for name in TOKENS),
            sa.func.sum(usage.c.cost_micros).label("cost_micros"),
        )
        .select_from(exchanges)
        .outerjoin(usage, usage.c.exchange_id == exchanges.c.id)
        .outerjoin(calls, calls.c.exchange_id == exchanges.c.id)
        .where(_started(since))
        .group_by(group)
    )
    found = [_total(row._mapping) for row in connection.execute(query)]
    return sorted(found, key=_by_name if by == "day" else _by_tokens)


def exchange(connection: Connection, name: str) -> Story:
    """The exchange whose id is or begins with `name`, or the `last` one.

    Raises RecordsError where there is none, or more than one.
    """
    newest = (exchanges.c.started_at.desc().nulls_last(), exchanges.c.id.desc())
    query = sa.select(exchanges).order_by(*newest).limit(2)
    if name != "last":
        query = query.where(exchanges.c.id.startswith(name.lower(), autoescape=True))
    found = connection.execute(query).mappings().all()
    if not found:
        raise RecordsError("there is no exchange yet" if name == "last" else f"there is no exchange {name}")
    if len(found) > 1 and name != "last":
        raise RecordsError(f"more than one exchange begins with {name}; write more of its id")
    return _story(connection, dict(found[0]))


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
    )


def _totals_by_tool(connection: Connection, since: datetime | None) -> list[Total]:
    """Calls by `server/tool`, the client's own by name."""
    own_name = sa.func.coalesce(tool_calls.c.tool, tool_calls.c.name)
    whole_name = sa.case(
        (tool_calls.c.server.is_(None), own_name), else_=tool_calls.c.server + "/" + own_name
    )
    group = whole_name.label("group_name")
    failed = sa.case((tool_calls.c.status.not_in(FINE), 1), else_=0)
    query = (
        sa.select(
            group,
            sa.func.count(tool_calls.c.exchange_id.distinct()).label("exchanges"),
            sa.func.sum(failed).label("errors"),
            sa.func.count().label("calls"),
        )
        .join(exchanges, exchanges.c.id == tool_calls.c.exchange_id)
        .where(_started(since))
        .group_by(group)
    )
    found = [_total(row._mapping) for row in connection.execute(query)]
    return sorted(found, key=lambda total: (-total.calls, total.group or ""))


def _usage_per_exchange(since: datetime | None) -> Subquery:
    sums = [sa.func.sum(token_usages.c[name]).label(name) for name in (*TOKENS, "cost_micros")]
    key = token_usages.c.exchange_id
    return sa.select(key, *sums).where(_of_period(key, since)).group_by(key).subquery("usage_sums")


def _calls_per_exchange(since: datetime | None) -> Subquery:
    key, count = tool_calls.c.exchange_id, sa.func.count().label("calls")
    return sa.select(key, count).where(_of_period(key, since)).group_by(key).subquery("call_counts")


def _of_period(key: ColumnElement[Any], since: datetime | None) -> ColumnElement[bool]:
    """Keeps the sums of a day from reading the rows of a year."""
    if since is None:
        return sa.true()
    return key.in_(sa.select(exchanges.c.id).where(_started(since)))


def _started(since: datetime | None) -> ColumnElement[bool]:
    return sa.true() if since is None else exchanges.c.started_at >= since.astimezone(UTC)


def _total(row: sa.RowMapping) -> Total:
    figures: dict[str, Any] = {name: _whole(value) for name, value in row.items() if name != "group_name"}
    group = row["group_name"]
    return Total(group=None if group is None else str(group), **figures)


def _whole(value: Any) -> int | None:
    """PostgreSQL sums to decimals."""
    return None if value is None else int(value)


def _by_name(total: Total) -> tuple[Any, ...]:
    return (total.group or "",)


def _by_tokens(total: Total) -> tuple[Any, ...]:
    tokens = sum(getattr(total, name) or 0 for name in TOKENS if name != "reasoning")
    return (-tokens, -total.exchanges, total.group or "")
