"""Many made-up exchanges, written in bulk: for measuring questions, and for comparing them with the truth."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from aibridge.records.store import Store
from aibridge.records.tables import exchanges, token_usages, tool_calls

Row = dict[str, Any]
BATCH = 5000
MODELS = ("gpt-5", "gpt-5-mini", "claude-sonnet-4-5", "gemini-2.5-pro", "llama-local", None)
CLIENTS = ("codex", "claude-code", "opencode", "openai-python", "curl", None)
UPSTREAMS = ("openai", "anthropic", "local")
TOOLS = (
    ("time", "now"),
    ("time", "zone"),
    ("git", "log"),
    ("git", "diff"),
    ("web", "fetch"),
    (None, "shell"),
)
STATUSES = (*["completed"] * 16, "failed", "failed", "cancelled", "interrupted")


@dataclass(slots=True)
class Made:
    """Rows of the tables."""

    exchanges: list[Row] = field(default_factory=list)
    rounds: list[Row] = field(default_factory=list)
    calls: list[Row] = field(default_factory=list)


def make(count: int, start: datetime, end: datetime, seed: int = 0) -> Iterator[Made]:
    """`count` exchanges from `start` to `end`, in their order, BATCH at a time."""
    chance = random.Random(seed)
    step = (end - start) / count
    made = Made()
    for number in range(count):
        _exchange(made, chance, number, start + number * step)
        if len(made.exchanges) == BATCH:
            yield made
            made = Made()
    yield made


def write(store: Store, made: Made) -> None:
    """Put them into the database, in one transaction."""
    with store.writing() as connection:
        for table, rows in (
            (exchanges, made.exchanges),
            (token_usages, made.rounds),
            (tool_calls, made.calls),
        ):
            if rows:
                connection.execute(sa.insert(table), rows)


def _exchange(made: Made, chance: random.Random, number: int, started: datetime) -> None:
    name, session = _id(chance, started), f"session-{number // 20}"
    rounds = chance.choice((1, 1, 1, 2))
    upstream_ms = int(chance.lognormvariate(7, 1))
    made.exchanges.append(
        {
            "id": name,
            "worker": "w",
            "started_at": started,
            "ended_at": started + timedelta(milliseconds=upstream_ms),
            "status": chance.choice(STATUSES),
            "http_status": 200,
            "user": chance.choice((None, *(f"user-{each}" for each in range(100)))),
            "key_id": chance.choice((None, *(f"key-{each}" for each in range(20)))),
            "caller": f"hmac-{chance.randrange(120)}",
            "client": chance.choice(CLIENTS),
            "user_agent": "some-agent/1.0 (linux; x86_64)",
            "session_id": session,
            "api": "chat_completions",
            "path": "/v1/chat/completions",
            "model": chance.choice(MODELS),
            "upstream": chance.choice(UPSTREAMS),
            "attempts": rounds,
            "streamed": True,
            "rounds": rounds,
            "injected_tools": 12,
            "first_byte_ms": chance.choice((None, *[int(chance.lognormvariate(6, 1))] * 9)),
            "upstream_ms": upstream_ms,
            "tools_ms": 0,
            "overhead_ms": round(chance.lognormvariate(-0.5, 1), 3),
            "recalled_turns": 0,
        }
    )
    for each in range(1, rounds + 1):
        made.rounds.append(_round(chance, name, each))
    for _ in range(chance.choice((0, 0, 0, 1, 1, 2))):
        made.calls.append(_call(chance, name, started))


def _round(chance: random.Random, exchange: str, number: int) -> Row:
    known = chance.random() < 0.8
    names = ("input", "cache_read", "cache_write", "output", "reasoning")
    return {
        "exchange_id": exchange,
        "round": number,
        **{name: chance.randrange(5000) for name in names},
        "audio_input": 0,
        "audio_output": 0,
        "source": chance.choice(("provider", "provider", "estimated", "missing")),
        "cost_micros": chance.randrange(20_000) if known else None,
        "price_source": "genai-prices" if known else "unknown",
    }


def _call(chance: random.Random, exchange: str, started: datetime) -> Row:
    server, tool = chance.choice(TOOLS)
    injected = server is not None
    return {
        "id": _id(chance, started),
        "exchange_id": exchange,
        "round": 1,
        "call_id": f"call_{chance.randrange(1 << 40):x}",
        "server": server,
        "tool": tool if injected else None,
        "name": f"{server}__{tool}" if injected else tool,
        "injected": injected,
        "arguments": "{}",
        "status": chance.choice(("ok", "ok", "ok", "error", "timeout")) if injected else "relayed",
        "started_at": started,
        "duration_ms": int(chance.lognormvariate(4, 1.5)) if injected else 0,
    }


def _id(chance: random.Random, when: datetime) -> str:
    """A UUIDv7 of that time."""
    text = f"{int(when.timestamp() * 1000) << 80 | 7 << 76 | chance.getrandbits(76):032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def summarise(store: Store, now: datetime, each: Callable[[], None] = lambda: None) -> int:
    """Summarise all past days, as the writer does in its time; how many there were."""
    from aibridge.records.summaries import summarise_one  # noqa: PLC0415 - beside the writer, nobody does

    days = 0
    while summarise_one(store, now):
        days += 1
        each()
    return days


def ago(days: float) -> datetime:
    """A time before now."""
    return datetime.now(UTC) - timedelta(days=days)
