"""What a fact says as a span: plain values, which `tracing` hands to OpenTelemetry.

One trace an exchange: the exchange itself, `chat` for each round, `execute_tool` for each injected call.
What is passed through may be no chat, so its round has the name `passthrough`.
Texts of users, models and tools are told only where content is wanted, masked as in the records.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from aibridge.facts import AttemptFailed, CallEnded, ExchangeEnded, ExchangeStarted, RoundEnded
from aibridge.telemetry import genai

Kind = Literal["server", "client", "internal"]
Attributes = Mapping[str, Any]
PASSTHROUGH = "passthrough"
FAILED = frozenset({"error", "invalid_arguments", "timeout", "cancelled", "refused"})


@dataclass(frozen=True, slots=True)
class Span:
    """One span; ids are hexadecimal, times Unix seconds."""

    name: str
    kind: Kind
    id: str
    parent: str | None
    began: float
    ended: float
    attributes: Attributes
    error: str | None = None
    """Why it failed, in one sentence."""
    events: tuple[tuple[str, float, Attributes], ...] = ()


@dataclass(slots=True)
class Open:
    """An exchange that runs."""

    began: ExchangeStarted
    told: int = 0
    """Rounds that ended."""
    latest: float = 0.0
    failures: list[AttemptFailed] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Spans:
    """Makes spans of facts."""

    content: bool
    mask: Callable[[str], str]

    def round(self, at: Open, fact: RoundEnded) -> Span:
        """A round that gave its turn."""
        trace = at.began.trace
        assert trace is not None
        usage = {name: getattr(fact.usage, key) for key, name in genai.USAGE.items()}
        if fact.usage.source == "missing":
            usage = {}
        else:  # the convention's input is all of it
            usage[genai.USAGE["input"]] += fact.usage.cache_read + fact.usage.cache_write
        told = {
            **self._of_chat(at, fact.asked, fact.upstream),
            **usage,
            genai.RESPONSE_ID: fact.response_id,
            genai.RESPONSE_MODEL: fact.model,
            genai.FINISH_REASONS: [fact.finish_reason] if fact.finish_reason else None,
            "aibridge.usage.source": fact.usage.source,
        }
        ended = fact.ended_at or at.began.started_at
        began = fact.started_at or ended
        span = trace.round(fact.round)
        name = _round_name(at, fact.asked)
        return Span(name, "client", span, trace.root, began, ended, _given(told), events=self._attempts(at))

    def untold_round(self, at: Open, fact: ExchangeEnded) -> Span:
        """A last round without a turn: it failed, was left, or passed through without usage."""
        trace = at.began.trace
        assert trace is not None
        told = self._of_chat(at, at.began.model, fact.upstream or at.began.upstream)
        well = fact.status == "completed"
        attributes = _given({**told, genai.ERROR_TYPE: None if well else fact.error_code or fact.status})
        name, began = _round_name(at, at.began.model), max(at.latest, at.began.started_at)
        error = None if well else self._text(fact.error_message) or fact.status
        span = trace.round(fact.rounds)
        return Span(
            *(name, "client", span, trace.root, began, max(began, fact.ended_at), attributes, error),
            events=self._attempts(at),
        )

    def call(self, at: Open, fact: CallEnded) -> Span:
        """`execute_tool {name}`."""
        trace = at.began.trace
        assert trace is not None
        told: dict[str, Any] = {
            genai.OPERATION: genai.EXECUTE_TOOL,
            genai.TOOL_NAME: fact.name,
            genai.TOOL_TYPE: "extension",
            genai.TOOL_CALL_ID: fact.call_id,
            genai.ERROR_TYPE: fact.status if fact.status in FAILED else None,
            "aibridge.mcp.server": fact.server,
        }
        keep = at.began.caller.keep
        if self.content and (keep is None or keep.arguments is not False):
            told[genai.TOOL_ARGUMENTS] = self._text(fact.arguments)
        if self.content and (keep is None or keep.results is not False):
            told[genai.TOOL_RESULT] = self._text(fact.result)
        ended = fact.started_at + fact.duration_ms / 1000
        error = (self._text(fact.error) or fact.status) if fact.status in FAILED else None
        span = trace.call(fact.round, fact.call_id)
        name = f"{genai.EXECUTE_TOOL} {fact.name}"
        return Span(name, "internal", span, trace.root, fact.started_at, ended, _given(told), error)

    def exchange(self, at: Open, fact: ExchangeEnded) -> Span:
        """The exchange as the client sees it."""
        began, trace = at.began, at.began.trace
        assert trace is not None
        told: dict[str, Any] = {
            genai.HTTP_METHOD: "POST" if began.api != PASSTHROUGH else None,
            genai.HTTP_ROUTE: began.path if began.api != PASSTHROUGH else None,
            genai.HTTP_STATUS: fact.http_status,
            genai.CONVERSATION: began.caller.session_id,
            genai.ERROR_TYPE: fact.error_code if fact.status == "failed" else None,
            "aibridge.exchange.id": fact.exchange_id,
            "aibridge.status": fact.status,
            "aibridge.caller": began.caller.id,
            "aibridge.client": began.caller.client,
            "aibridge.upstream": fact.upstream or began.upstream,
            "aibridge.rounds": fact.rounds,
            "aibridge.attempts": fact.attempts,
            "aibridge.first_byte_ms": fact.first_byte_ms,
            "aibridge.overhead_ms": fact.overhead_ms,
            "aibridge.notes": fact.notes,
        }
        keep = began.caller.keep
        if self.content and began.prompt is not None and (keep is None or keep.prompts is not False):
            parts = [{"type": "text", "content": self._text(began.prompt)}]
            told[genai.INPUT_MESSAGES] = json.dumps([{"role": "user", "parts": parts}], ensure_ascii=False)
        error = (self._text(fact.error_message) or fact.status) if fact.status == "failed" else None
        name = f"POST {began.path}" if began.api != PASSTHROUGH else began.api
        root, ended = trace.root, max(began.started_at, fact.ended_at)
        return Span(name, "server", root, trace.parent, began.started_at, ended, _given(told), error)

    def _of_chat(self, at: Open, model: str | None, upstream: str | None) -> dict[str, Any]:
        return {
            genai.OPERATION: None if at.began.api == PASSTHROUGH else genai.CHAT,
            genai.PROVIDER: upstream,
            genai.REQUEST_MODEL: model or None,
            genai.API_TYPE: at.began.api,
        }

    def _attempts(self, at: Open) -> tuple[tuple[str, float, Attributes], ...]:
        """The requests that failed since the last round."""
        failures, at.failures = at.failures, []
        return tuple(
            (
                "aibridge.attempt_failed",
                each.failed_at,
                {
                    "aibridge.upstream": each.failure.upstream,
                    genai.ERROR_TYPE: each.failure.code,
                    "exception.message": self.mask(each.failure.error),
                },
            )
            for each in failures
        )

    def _text(self, text: str | None) -> str | None:
        return None if text is None else self.mask(text)


def _round_name(at: Open, model: str | None) -> str:
    return f"{PASSTHROUGH if at.began.api == PASSTHROUGH else genai.CHAT} {model or ''}".strip()


def _given(attributes: Attributes) -> Attributes:
    return {name: value for name, value in attributes.items() if value is not None}
