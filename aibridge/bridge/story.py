"""What records and telemetry hear of one exchange: how it began, its rounds and calls, its one ending."""

import time

from aibridge.bridge.stopwatch import Stopwatch
from aibridge.dialects.base import Asked, Turn
from aibridge.errors import BridgeError, UpstreamRefused
from aibridge.facts import (
    AttemptFailed,
    CallEnded,
    ExchangeEnded,
    ExchangeStarted,
    ExchangeStatus,
    Failure,
    Listener,
    RoundEnded,
)
from aibridge.ids import new_id
from aibridge.nouns import Call, Caller, Result, Tool
from aibridge.tracing import Trace


class Story:
    """Tells a listener the facts of one exchange, each once."""

    def __init__(
        self, listener: Listener, caller: Caller, api: str, path: str, started_at: float | None = None
    ) -> None:
        """`started_at`: Unix time in seconds where the exchange began before now."""
        self.exchange_id = new_id()
        self.watch = Stopwatch()
        self.ended = False
        self.rounds = self.attempts = self.recalled_turns = 0
        self.unavailable: tuple[str, ...] = ()
        """MCP servers that are away."""
        self.left_out: tuple[str, ...] = ()
        """Tools that are not injected although they were offered."""
        self.trace: Trace | None = None
        """Its place in a trace, where there is one."""
        self.upstream: str | None = None
        """The upstream that is asked."""
        self.asked: str | None = None
        """The model that was asked for."""
        self._left: list[str] = []
        self._failures = 0
        self._notes: list[str] = []
        self._listener, self._caller, self._api, self._path = listener, caller, api, path
        self._started_at = self._round_began = time.time() if started_at is None else started_at
        self._tools: dict[str, Tool] = {}
        self._first_byte: int | None = None
        self.first_text: int | None = None
        """Milliseconds until the client had its first text, which is not before its first byte."""
        self._response_id: str | None = None
        self._model: str | None = None

    def begins(self, asked: Asked, upstream: str, tools: tuple[Tool, ...]) -> None:
        """The request was read, and is about to be asked upstream."""
        self._tools = {tool.name: tool for tool in tools}
        self.upstream, self.asked = upstream, asked.model
        self._listener(
            ExchangeStarted(
                exchange_id=self.exchange_id,
                started_at=self._started_at,
                caller=self._caller,
                api=self._api,
                path=self._path,
                model=asked.model,
                upstream=upstream,
                streamed=asked.streamed,
                injected_tools=len(tools),
                user=asked.user,
                prompt=asked.prompt,
                answers_call_id=asked.answers_call_id,
                metadata=asked.metadata,
                unavailable=self.unavailable,
                left_out=self.left_out,
                trace=self.trace,
            )
        )

    def round_begins(self) -> None:
        """The next round is about to be asked."""
        self.rounds += 1
        self._round_began = time.time()

    def attempt_begins(self) -> None:
        """A request to an upstream is sent."""
        self.attempts += 1

    def attempt_fails(self, failure: Failure) -> None:
        """It failed, and may be sent again."""
        self._failures += 1
        told = AttemptFailed(
            self.exchange_id, max(1, self.rounds), self._failures, failed_at=time.time(), failure=failure
        )
        self._listener(told)

    def leaves(self, upstream: str) -> None:
        """`upstream` did not answer round 1, and another is asked."""
        self._left.append(upstream)

    def asks(self, upstream: str) -> None:
        """From now on `upstream` is asked."""
        self.upstream = upstream

    def note(self, word: str) -> None:
        """Something that the record shall say of the exchange: a cap, a refusal."""
        if word not in self._notes:
            self._notes.append(word)

    def gives_bytes(self, *, text: bool) -> None:
        """Bytes for the client are ready; `text`: visible text has come by now."""
        if self._first_byte is None:
            self._first_byte = self.watch.elapsed()
        if text and self.first_text is None:
            self.first_text = self.watch.elapsed()

    def round_ends(self, turn: Turn) -> None:
        """A round gave its turn, whole or cut short."""
        self._response_id = self._response_id or turn.response_id
        self._model = turn.model or self._model
        self._listener(
            RoundEnded(
                exchange_id=self.exchange_id,
                round=self.rounds,
                usage=turn.usage,
                response_id=turn.response_id,
                model=turn.model,
                thought=turn.thought,
                upstream=self.upstream,
                asked=self.asked,
                ended_at=time.time(),
                started_at=self._round_began,
                finish_reason=turn.finish_reason,
            )
        )

    def relays(self, calls: list[Call]) -> None:
        """The client was given `calls`."""
        now = time.time()
        for call in calls:
            self._call_ends(call, Result(call.id, "", "relayed", now, 0), None)

    def call_finishes(self, call: Call, result: Result) -> None:
        """An injected call got its result."""
        self._call_ends(call, result, result.text)

    def _call_ends(self, call: Call, result: Result, text: str | None) -> None:
        tool = self._tools.get(call.name)
        self._listener(
            CallEnded(
                exchange_id=self.exchange_id,
                round=self.rounds,
                call_id=call.id,
                name=call.name,
                injected=call.injected,
                arguments=call.arguments,
                status=result.status,
                started_at=result.started_at,
                duration_ms=result.duration_ms,
                server=tool.server if tool and call.injected else None,
                tool=tool.own_name if tool and call.injected else None,
                error=result.error,
                result=text,
            )
        )

    def fails(self, error: BridgeError | UpstreamRefused, http_status: int) -> None:
        """The exchange ends in an error."""
        code = error.kind.code if isinstance(error, BridgeError) else f"upstream_{error.status}"
        self.ends("failed", http_status, code, str(error))

    def ends(
        self, status: ExchangeStatus, http_status: int, code: str | None = None, message: str | None = None
    ) -> None:
        """The one ending; a second one is not told."""
        if self.ended:
            return
        self.ended = True
        self.watch.to("own")
        self._listener(
            ExchangeEnded(
                exchange_id=self.exchange_id,
                ended_at=time.time(),
                status=status,
                http_status=http_status,
                rounds=self.rounds,
                attempts=self.attempts,
                model=self._model,
                response_id=self._response_id,
                error_code=code,
                error_message=message,
                first_byte_ms=self._first_byte,
                first_text_ms=self.first_text,
                upstream_ms=round(self.watch.millis("upstream")),
                tools_ms=round(self.watch.millis("tools")),
                overhead_ms=round(self.watch.millis("own"), 3),
                recalled_turns=self.recalled_turns,
                notes=", ".join(self._notes) or None,
                upstream=self.upstream or "",
                left=tuple(self._left),
            )
        )
