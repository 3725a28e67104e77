"""What an entry of the journal becomes in the database: rows of values in the order of their columns.

Keys come from the entry and the start and the end of an exchange set columns of their own, so that
entries may be folded again, and the two in either order, with the same outcome.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from msgspec.structs import replace
from sqlalchemy import Table

from aibridge.facts import AttemptFailed, CallEnded, ExchangeEnded, ExchangeStarted, Fact, RoundEnded
from aibridge.nouns import Usage
from aibridge.records.pricing import Prices, minute_of
from aibridge.records.tables import exchanges, failed_attempts, prompts, thoughts, token_usages, tool_calls

Values = tuple[Any, ...]
BOTH = ("id", "worker", "status", "upstream")
"""What start and end of an exchange both say, first among their columns."""
STARTING = (
    *("started_at", "caller", "key_id", "client", "user_agent", "session_id", "user", "answers_call_id"),
    *("api", "path", "model", "streamed", "injected_tools", "unavailable", "left_out", "metadata"),
)
ENDING = (
    *("ended_at", "model_answered", "response_id", "error_code", "error_message", "notes", "overhead_ms"),
    *("first_byte_ms", "first_text_ms"),
    *("http_status", "rounds", "attempts", "upstream_ms", "tools_ms", "recalled_turns"),
)
TOKENS = ("input", "cache_read", "cache_write", "output", "reasoning", "audio_input", "audio_output")
LARGEST = (1 << 63) - 1
LARGEST_SMALL = (1 << 31) - 1


@dataclass(frozen=True, eq=False)
class Upsert:
    """A row that is inserted or, where its key exists, has its columns set, those of `once` excepted."""

    table: Table
    columns: tuple[str, ...]
    once: frozenset[str] = frozenset()


STARTED = Upsert(exchanges, BOTH + STARTING, once=frozenset({"status", "upstream"}))
ENDED = Upsert(exchanges, BOTH + ENDING, once=frozenset({"worker"}))
WHOLE = Upsert(exchanges, BOTH + ENDING + STARTING)
ROUND = Upsert(
    token_usages,
    (
        *("exchange_id", "round", *TOKENS),
        *("response_id", "model", "other", "source", "cost_micros", "price_source"),
    ),
)
CALL = Upsert(
    tool_calls,
    (
        *("exchange_id", "id", "started_at", "injected", "status", "call_id", "server", "tool", "name"),
        *("arguments", "error", "result", "result_chars", "round", "duration_ms"),
    ),
)
ATTEMPT = Upsert(
    failed_attempts,
    (
        *("exchange_id", "failed_at", "upstream", "model", "code", "error", "key", "again_in_ms"),
        *("number", "round", "duration_ms"),
    ),
)
PROMPT = Upsert(prompts, ("exchange_id", "text"))
THOUGHT = Upsert(thoughts, ("exchange_id", "round", "source", "text"))
UPSERTS = (STARTED, ENDED, ROUND, CALL, ATTEMPT, PROMPT, THOUGHT)
"""The first column of each says which exchange it is of."""
STARTED_AT = STARTED.columns.index("started_at")
Row = tuple[Upsert, Values]

_of_caller = attrgetter("id", "key_id", "client", "user_agent", "session_id")
_of_start = attrgetter("user", "answers_call_id", "api", "path", "model", "streamed")
_of_call = attrgetter("status", "call_id", "server", "tool", "name", "arguments", "error", "result")
_of_failure = attrgetter("upstream", "model", "code", "error", "key")
_of_end = attrgetter("model", "response_id", "error_code", "error_message", "notes", "overhead_ms")
_counts_of_end = attrgetter("http_status", "rounds", "attempts", "upstream_ms", "tools_ms", "recalled_turns")
_of_usage = attrgetter(*TOKENS)


def whole(started: Values, ended: Values) -> Values:
    """Values of WHOLE from those of STARTED and ENDED."""
    return ended + started[len(BOTH) :]


class RowMaker:
    """Makes the rows of facts that are told in the journal `worker`."""

    def __init__(self, worker: str, prices: Prices, time_value: Callable[[float], Any]) -> None:
        """`time_value`: a Unix time as the database's driver takes it."""
        self._worker, self._prices, self._time = worker, prices, time_value
        self._makers: Mapping[type, Callable[[Any], tuple[Row, ...]]] = {
            ExchangeStarted: self._started,
            RoundEnded: self._round,
            CallEnded: self._call,
            AttemptFailed: self._attempt,
            ExchangeEnded: self._ended,
        }

    def __call__(self, fact: Fact) -> tuple[Row, ...]:
        """The rows of `fact`, whose texts are storable; raises ValueError, OverflowError, OSError."""
        return self._makers[type(fact)](fact)

    def _started(self, fact: ExchangeStarted) -> tuple[Row, ...]:
        values = (
            *(fact.exchange_id, self._worker, "running", fact.upstream, self._time(fact.started_at)),
            *_of_caller(fact.caller),
            *_of_start(fact),
            _small(fact.injected_tools),
            _json(fact.unavailable or None),
            _json(fact.left_out or None),
            _json(fact.metadata),
        )
        if fact.prompt is None:
            return ((STARTED, values),)
        return (STARTED, values), (PROMPT, (fact.exchange_id, fact.prompt))

    def _round(self, fact: RoundEnded) -> tuple[Row, ...]:
        tokens, usage = _tokens(fact.usage)
        ended = time.time() if fact.ended_at is None else fact.ended_at
        cost = self._prices.cost(fact.model, fact.upstream, usage, minute_of(ended), fact.asked)
        number = _small(fact.round)
        values = (
            fact.exchange_id,
            number,
            *tokens,
            fact.response_id,
            fact.model,
            _json(usage.other or None),
            usage.source,
            None if cost.source == "unknown" else min(cost.micros, LARGEST),
            cost.source,
        )
        if not fact.thought:
            return ((ROUND, values),)
        return (ROUND, values), (THOUGHT, (fact.exchange_id, number, None, fact.thought))

    def _call(self, fact: CallEnded) -> tuple[Row, ...]:
        values = (
            *(fact.exchange_id, fact.id, self._time(fact.started_at), fact.injected),
            *_of_call(fact),
            _small(fact.result_chars),
            *_smalls(fact.round, fact.duration_ms),
        )
        return ((CALL, values),)

    def _attempt(self, fact: AttemptFailed) -> tuple[Row, ...]:
        failure = fact.failure
        numbers = _smalls(fact.number, fact.round, failure.duration_ms)
        values = (
            *(fact.exchange_id, self._time(fact.failed_at)),
            *_of_failure(failure),
            *(_small(failure.again_in_ms), *numbers),
        )
        return ((ATTEMPT, values),)

    def _ended(self, fact: ExchangeEnded) -> tuple[Row, ...]:
        values = (
            *(fact.exchange_id, self._worker, fact.status, fact.upstream, self._time(fact.ended_at)),
            *_of_end(fact),
            *(_small(fact.first_byte_ms), _small(fact.first_text_ms)),
            *_smalls(*_counts_of_end(fact)),
        )
        return ((ENDED, values),)


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value)


def _tokens(usage: Usage) -> tuple[tuple[int, ...], Usage]:
    """Tokens: never negative, no provider's nonsense beyond 64 bits; and the usage with these."""
    tokens: tuple[int, ...] = _of_usage(usage)
    if min(tokens) >= 0 and max(tokens) <= LARGEST:
        return tokens, usage
    tokens = tuple(min(max(each, 0), LARGEST) for each in tokens)
    return tokens, replace(usage, **dict(zip(TOKENS, tokens, strict=True)))


def _smalls(*values: int) -> tuple[int, ...]:
    if min(values) >= 0 and max(values) <= LARGEST_SMALL:
        return values
    return tuple(min(max(each, 0), LARGEST_SMALL) for each in values)


def _small(value: int | None) -> int | None:
    return value if value is None or 0 <= value <= LARGEST_SMALL else _smalls(value)[0]
