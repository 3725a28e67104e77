"""What an entry of the journal becomes in the database: upserts of rows, each with its columns.

Keys come from the entry and the start and the end of an exchange set columns of their own, so that
entries may be folded again, and the two in either order, with the same outcome.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Table

from aibridge.facts import AttemptFailed, CallEnded, ExchangeEnded, ExchangeStarted, Fact, RoundEnded
from aibridge.nouns import Usage
from aibridge.records.pricing import Prices
from aibridge.records.storable import storable, storable_value
from aibridge.records.tables import exchanges, failed_attempts, prompts, thoughts, token_usages, tool_calls

Values = dict[str, Any]
TOKENS = ("input", "cache_read", "cache_write", "output", "reasoning", "audio_input", "audio_output")
COUNTS = (
    *("http_status", "rounds", "attempts", "first_byte_ms", "first_text_ms"),
    *("upstream_ms", "tools_ms", "recalled_turns"),
)
LARGEST = (1 << 63) - 1
LARGEST_SMALL = (1 << 31) - 1


@dataclass(frozen=True, eq=False)
class Upsert:
    """A row that is inserted or, where its key exists, has its columns set, those of `once` excepted."""

    table: Table
    once: frozenset[str] = frozenset()


STARTED = Upsert(exchanges, once=frozenset({"status", "upstream"}))
ENDED = Upsert(exchanges, once=frozenset({"worker"}))
WHOLE = Upsert(exchanges)
ROUND = Upsert(token_usages)
CALL = Upsert(tool_calls)
ATTEMPT = Upsert(failed_attempts)
PROMPT = Upsert(prompts)
THOUGHT = Upsert(thoughts)
UPSERTS = (STARTED, ENDED, ROUND, CALL, ATTEMPT, PROMPT, THOUGHT)
Row = tuple[Upsert, Values]


def rows(fact: Fact, worker: str, prices: Prices) -> Iterator[Row]:
    """The rows of `fact`, told in the journal `worker`; raises ValueError, OverflowError, OSError."""
    match fact:
        case ExchangeStarted():
            return _started(fact, worker)
        case RoundEnded():
            return _round(fact, prices)
        case CallEnded():
            return _call(fact)
        case AttemptFailed():
            return _attempt(fact)
        case ExchangeEnded():
            return _ended(fact, worker)


def _started(fact: ExchangeStarted, worker: str) -> Iterator[Row]:
    caller = fact.caller
    values = {
        "id": fact.exchange_id,
        "worker": worker,
        "status": "running",
        "started_at": _time(fact.started_at),
        "caller": _text(caller.id),
        "streamed": fact.streamed,
        "injected_tools": _small(fact.injected_tools),
        "unavailable": storable_value(fact.unavailable) or None,
        "left_out": storable_value(fact.left_out) or None,
        "metadata": storable_value(fact.metadata),
        **_texts(caller, "key_id", "client", "user_agent", "session_id"),
        **_texts(fact, "user", "answers_call_id", "api", "path", "model", "upstream"),
    }
    yield STARTED, values
    if fact.prompt is not None:
        yield PROMPT, {"exchange_id": fact.exchange_id, "text": _text(fact.prompt)}


def _round(fact: RoundEnded, prices: Prices) -> Iterator[Row]:
    tokens = {name: _count(getattr(fact.usage, name)) for name in TOKENS}
    usage = Usage(**tokens, other=fact.usage.other, source=fact.usage.source)
    when = datetime.now(UTC) if fact.ended_at is None else _time(fact.ended_at)
    cost = prices.cost(_text(fact.model), _text(fact.upstream), usage, when, _text(fact.asked))
    key = {"exchange_id": fact.exchange_id, "round": _small(fact.round)}
    values = {
        **key,
        "other": storable_value(usage.other) or None,
        "source": usage.source,
        "cost_micros": None if cost.source == "unknown" else min(cost.micros, LARGEST),
        "price_source": cost.source,
        **tokens,
        **_texts(fact, "response_id", "model"),
    }
    yield ROUND, values
    if fact.thought:
        yield THOUGHT, {**key, "source": None, "text": _text(fact.thought)}


def _call(fact: CallEnded) -> Iterator[Row]:
    values = {
        "id": fact.id,
        "exchange_id": fact.exchange_id,
        "round": _small(fact.round),
        "injected": fact.injected,
        "started_at": _time(fact.started_at),
        "duration_ms": _small(fact.duration_ms),
        "result_chars": _small(fact.result_chars),
        **_texts(fact, "status", "call_id", "server", "tool", "name", "arguments", "error", "result"),
    }
    yield CALL, values


def _attempt(fact: AttemptFailed) -> Iterator[Row]:
    failure = fact.failure
    values = {
        "exchange_id": fact.exchange_id,
        "number": _small(fact.number),
        "round": _small(fact.round),
        "failed_at": _time(fact.failed_at),
        "duration_ms": _small(failure.duration_ms),
        "again_in_ms": _small(failure.again_in_ms),
        **_texts(failure, "upstream", "model", "code", "error", "key"),
    }
    yield ATTEMPT, values


def _ended(fact: ExchangeEnded, worker: str) -> Iterator[Row]:
    values = {
        "id": fact.exchange_id,
        "worker": worker,
        "ended_at": _time(fact.ended_at),
        "status": fact.status,
        "overhead_ms": fact.overhead_ms,
        "model_answered": _text(fact.model),
        **{name: _small(getattr(fact, name)) for name in COUNTS},
        **_texts(fact, "response_id", "error_code", "error_message", "notes", "upstream"),
    }
    yield ENDED, values


def _texts(noun: object, *names: str) -> Values:
    return {name: _text(getattr(noun, name)) for name in names}


def _text(value: str | None) -> str | None:
    return None if value is None else storable(value)


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _count(value: int) -> int:
    """Tokens: never negative, no provider's nonsense beyond 64 bits."""
    return min(max(value, 0), LARGEST)


def _small(value: int | None) -> int | None:
    return None if value is None else min(max(value, 0), LARGEST_SMALL)
