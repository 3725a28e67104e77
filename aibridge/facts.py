"""The facts of an exchange, told as they happen to listeners (records, telemetry, limits).

A listener never waits and never raises. Facts are structures of msgspec, which are made and written as JSON
in a microsecond: each is an entry of the journal as it stands (`records.entries`).
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

from msgspec import Struct, field

from aibridge.ids import new_id
from aibridge.nouns import Caller, CallStatus, Usage
from aibridge.tracing import Trace

ExchangeStatus = Literal["running", "completed", "failed", "cancelled", "interrupted"]


class Failure(Struct, frozen=True, omit_defaults=True):
    """One request to an upstream that failed before the first byte of its answer."""

    upstream: str
    model: str
    """The upstream's own name of it."""
    code: str
    """The HTTP status, or a word for what went wrong, like `unreachable` or `breaker_open`."""
    error: str
    """One sentence."""
    duration_ms: int
    again_in_ms: int | None = None
    """The wait after which this upstream was asked again; None where it was not."""
    key: str | None = None
    """Which of our keys it was asked with: its number, and a short mask."""


class AttemptHeard(Protocol):
    """Who is told of each request to an upstream."""

    def attempt_begins(self) -> None:
        """A request is sent now."""
        ...

    def attempt_fails(self, failure: Failure) -> None:
        """It failed, or was not sent at all (`breaker_open`)."""
        ...


class ExchangeStarted(Struct, frozen=True, omit_defaults=True, tag_field="fact", tag="started"):
    """A client's request was read; times are Unix seconds."""

    exchange_id: str
    started_at: float
    caller: Caller
    api: str
    path: str
    model: str
    upstream: str
    streamed: bool
    injected_tools: int
    user: str | None = None
    prompt: str | None = None
    answers_call_id: str | None = None
    metadata: Mapping[str, Any] | None = None
    unavailable: tuple[str, ...] = ()
    """MCP servers that were away, so that their tools were not injected."""
    left_out: tuple[str, ...] = ()
    """Tools that were not injected: the client has one of that name, or there were too many."""
    trace: Trace | None = None
    """Its place in a trace, for telemetry alone."""


class RoundEnded(Struct, frozen=True, omit_defaults=True, tag_field="fact", tag="round"):
    """An upstream round gave its turn, or was cut short (then `usage.source` says so)."""

    exchange_id: str
    round: int
    usage: Usage
    response_id: str | None = None
    model: str | None = None
    thought: str | None = None
    """Reasoning text of the turn."""
    upstream: str | None = None
    """The one that answered this round."""
    asked: str | None = None
    """The model that was asked for."""
    ended_at: float | None = None
    """Unix time in seconds."""
    started_at: float | None = None
    """The same, of its first request."""
    finish_reason: str | None = None


class CallEnded(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="fact", tag="call"):
    """A call got its result (injected) or was handed to the client (`relayed`)."""

    exchange_id: str
    round: int
    call_id: str
    name: str
    injected: bool
    arguments: str | None = None
    """None where the records do not keep them."""
    status: CallStatus
    started_at: float
    duration_ms: int = 0
    server: str | None = None
    tool: str | None = None
    error: str | None = None
    result: str | None = None
    result_chars: int | None = None
    """How long the result is, for records that do not keep it."""
    id: str = field(default_factory=new_id)
    """The record's: providers repeat call ids."""


class AttemptFailed(Struct, frozen=True, omit_defaults=True, tag_field="fact", tag="attempt"):
    """A request to an upstream failed; the exchange may still end well."""

    exchange_id: str
    round: int
    number: int
    """Counts the failed ones of the exchange, from 1."""
    failed_at: float
    """Unix time in seconds."""
    failure: Failure


class ExchangeEnded(Struct, frozen=True, omit_defaults=True, tag_field="fact", tag="ended"):
    """The one ending of an exchange; told before the last byte leaves."""

    exchange_id: str
    ended_at: float
    status: ExchangeStatus
    http_status: int
    rounds: int
    attempts: int
    model: str | None = None
    response_id: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    first_byte_ms: int | None = None
    first_text_ms: int | None = None
    upstream_ms: int = 0
    tools_ms: int = 0
    overhead_ms: float = 0.0
    recalled_turns: int = 0
    """Hidden turns of earlier exchanges that were put back."""
    notes: str | None = None
    """Words for what was special: a cap that was reached, `recall_refused`."""
    upstream: str = ""
    """The one that answered, or failed last."""
    left: tuple[str, ...] = ()
    """Upstreams that failed in round 1, so that the next fallback was asked."""


Fact = ExchangeStarted | RoundEnded | CallEnded | AttemptFailed | ExchangeEnded
Listener = Callable[[Fact], None]
