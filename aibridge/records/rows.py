"""What an entry of the journal becomes in the database: upserts of rows, each with its columns.

Keys come from the entry and the start and the end of an exchange set columns of their own, so that
entries may be folded again, and the two in either order, with the same outcome.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Table

from aibridge.nouns import Usage
from aibridge.records.pricing import Cost, Prices
from aibridge.records.tables import exchanges, failed_attempts, prompts, thoughts, token_usages, tool_calls

Entry = Mapping[str, Any]
Values = dict[str, Any]
TOKENS = ("input", "cache_read", "cache_write", "output", "reasoning", "audio_input", "audio_output")
LARGEST = (1 << 63) - 1
LARGEST_SMALL = (1 << 31) - 1


@dataclass(frozen=True, eq=False)
class Upsert:
    """A row that is inserted or, where its key exists, has its columns set, those of `once` excepted."""

    table: Table
    once: frozenset[str] = frozenset()


STARTED = Upsert(exchanges, once=frozenset({"status", "upstream"}))
ENDED = Upsert(exchanges, once=frozenset({"worker"}))
ROUND = Upsert(token_usages)
CALL = Upsert(tool_calls)
ATTEMPT = Upsert(failed_attempts)
PROMPT = Upsert(prompts)
THOUGHT = Upsert(thoughts)
UPSERTS = (STARTED, ENDED, ROUND, CALL, ATTEMPT, PROMPT, THOUGHT)
Row = tuple[Upsert, Values]


def rows(entry: Entry, worker: str, prices: Prices) -> Iterator[Row]:
    """The rows of `entry`, told in the journal `worker`; raises KeyError, TypeError, ValueError."""
    if entry["fact"] == "round":
        return _round(entry, prices)
    return READERS[entry["fact"]](entry, worker)


def _started(entry: Entry, worker: str) -> Iterator[Row]:
    caller = entry["caller"]
    values = {
        "id": entry["exchange_id"],
        "worker": worker,
        "status": "running",
        "started_at": _time(entry["started_at"]),
        "caller": _text(caller["id"]),
        "key_id": _text(caller.get("key_id")),
        "client": _text(caller.get("client")),
        "user_agent": _text(caller.get("user_agent")),
        "session_id": _text(caller.get("session_id")),
        "streamed": bool(entry["streamed"]),
        "injected_tools": _small(entry["injected_tools"]),
        "unavailable": _clean(entry.get("unavailable")) or None,
        "left_out": _clean(entry.get("left_out")) or None,
        "metadata": _clean(entry.get("metadata")),
        **_texts(entry, "user", "answers_call_id", "api", "path", "model", "upstream"),
    }
    yield STARTED, values
    if entry.get("prompt") is not None:
        yield PROMPT, {"exchange_id": entry["exchange_id"], "text": _text(entry["prompt"])}


def _round(entry: Entry, prices: Prices) -> Iterator[Row]:
    usage = entry["usage"]
    tokens = {name: _count(usage.get(name, 0)) for name in TOKENS}
    cost = _cost(entry, tokens, prices)
    key = {"exchange_id": entry["exchange_id"], "round": _small(entry["round"])}
    values = {
        **key,
        "other": _clean(usage.get("other")) or None,
        "source": _text(usage["source"]),
        "cost_micros": None if cost.source == "unknown" else min(cost.micros, LARGEST),
        "price_source": cost.source,
        **tokens,
        **_texts(entry, "response_id", "model"),
    }
    yield ROUND, values
    if entry.get("thought"):
        yield THOUGHT, {**key, "source": None, "text": _text(entry["thought"])}


def _cost(entry: Entry, tokens: Mapping[str, int], prices: Prices) -> Cost:
    told = entry["usage"]
    usage = Usage(**tokens, other=told.get("other") or {}, source=told["source"])
    ended = entry.get("ended_at")
    when = datetime.now(UTC) if ended is None else _time(ended)
    return prices.cost(
        _text(entry.get("model")), _text(entry.get("upstream")), usage, when, _text(entry.get("asked"))
    )


def _call(entry: Entry, worker: str) -> Iterator[Row]:
    values = {
        "id": entry["id"],
        "exchange_id": entry["exchange_id"],
        "round": _small(entry["round"]),
        "injected": bool(entry["injected"]),
        "started_at": _time(entry["started_at"]),
        "duration_ms": _small(entry["duration_ms"]),
        "result_chars": _small(entry.get("result_chars")),
        **_texts(entry, "status", "call_id", "server", "tool", "name", "arguments", "error", "result"),
    }
    yield CALL, values


def _attempt(entry: Entry, worker: str) -> Iterator[Row]:
    failure = entry["failure"]
    values = {
        "exchange_id": entry["exchange_id"],
        "number": _small(entry["number"]),
        "round": _small(entry["round"]),
        "failed_at": _time(entry["failed_at"]),
        "duration_ms": _small(failure["duration_ms"]),
        "again_in_ms": _small(failure.get("again_in_ms")),
        **_texts(failure, "upstream", "model", "code", "error", "key"),
    }
    yield ATTEMPT, values


def _ended(entry: Entry, worker: str) -> Iterator[Row]:
    counts = (
        *("http_status", "rounds", "attempts", "first_byte_ms", "first_text_ms"),
        *("upstream_ms", "tools_ms", "recalled_turns"),
    )
    values = {
        "id": entry["exchange_id"],
        "worker": worker,
        "ended_at": _time(entry["ended_at"]),
        "status": _text(entry["status"]),
        "overhead_ms": float(entry["overhead_ms"]),
        "model_answered": _text(entry.get("model")),
        **{name: _small(entry.get(name)) for name in counts},
        **_texts(entry, "response_id", "error_code", "error_message", "notes", "upstream"),
    }
    yield ENDED, values


READERS: dict[str, Callable[[Entry, str], Iterator[Row]]] = {
    "started": _started,
    "call": _call,
    "attempt": _attempt,
    "ended": _ended,
}


def _texts(entry: Entry, *names: str) -> Values:
    return {name: _text(entry.get(name)) for name in names}


def _text(value: Any) -> str | None:
    """Text that every database holds: PostgreSQL has no NUL, neither has lone surrogates."""
    if value is None:
        return None
    text = str(value).replace("\0", "\N{REPLACEMENT CHARACTER}")
    return text.encode("utf-8", "replace").decode("utf-8") if not text.isascii() else text


def _clean(value: Any) -> Any:
    """A JSON value whose texts are all `_text`."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        return {_text(key): _clean(item) for key, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, list) else value


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _count(value: Any) -> int:
    """Tokens: never negative, no provider's nonsense beyond 64 bits."""
    return min(max(int(value), 0), LARGEST)


def _small(value: Any) -> int | None:
    return None if value is None else min(max(int(value), 0), LARGEST_SMALL)
