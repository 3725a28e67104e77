"""An upstream's answer read into a Turn, tolerant of how providers really send it.

Deltas that need no understanding are kept raw and folded only when the turn's message is wanted: a hidden
turn goes back upstream whole (`reasoning_content`, signatures, what is unknown).
"""

from collections.abc import Mapping
from typing import Any

from aibridge.dialects.base import Turn
from aibridge.dialects.chat_completions.calls import CallReader
from aibridge.dialects.folding import fold
from aibridge.dialects.naming import Names
from aibridge.dialects.usage import read_usage
from aibridge.wire.json_text import loads
from aibridge.wire.sse import Event, split

KEPT_RAW = 64 << 10
"""Bytes of a turn that are kept raw before they are folded (6-architecture.md, The hot path)."""
CUT_SHORT = ("length", "content_filter")
REASONING = ("reasoning_content", "reasoning", "thinking")
_REASONING = frozenset(REASONING)


class Reader:
    """Reads one round."""

    def __init__(self, names: Names, number: int, *, keep_message: bool) -> None:
        self.calls = CallReader(names)
        self.calls.seed = f":{number}"
        self._number = number
        self.finish_reason: str | None = None
        self.usage: dict[str, Any] | None = None
        self.response_id: str | None = None
        self.model: str | None = None
        self.error: str | None = None
        self.pieces = 0
        """Events that came; of a stream that is cut short, about its tokens."""
        self._message: dict[str, Any] = {}
        self._keep = keep_message
        self._dropped = self._reasons = False
        self._pending: list[bytes | dict[str, Any]] = []
        self._pending_size = 0

    def keep(self, raw: bytes) -> None:
        """Note an event with a text delta that nobody had to look at."""
        self.pieces += 1
        reasons = b'"reasoning' in raw or b'"thinking' in raw
        self._reasons = self._reasons or reasons
        if self._keep or reasons:
            self._wait(raw, len(raw))

    def keep_texts(self, raw: bytes, count: int) -> None:
        """The same for `count` events that show text and nothing else."""
        self.pieces += count
        if self._keep:
            self._wait(raw, len(raw))

    def _wait(self, delta: bytes | dict[str, Any], size: int) -> None:
        self._pending.append(delta)
        self._pending_size += size
        if self._pending_size > KEPT_RAW:
            self._fold_pending()

    def head(self, chunk: dict[str, Any]) -> None:
        """Take what a chunk or body says of the answer as a whole."""
        if self.response_id is None and isinstance(chunk.get("id"), str) and chunk["id"]:
            self.response_id = chunk["id"]
            self.calls.seed = f"{self.response_id}:{self._number}"
        if self.model is None and isinstance(chunk.get("model"), str) and chunk["model"]:
            self.model = chunk["model"]
        self.usage = _usage(chunk) or self.usage  # the last one wins: some providers count up on every chunk

    def delta(self, delta: dict[str, Any], size: int) -> None:
        """Take a delta, or a whole message, of `size` bytes, its calls aside."""
        self.pieces += 1
        self._reasons = self._reasons or not _REASONING.isdisjoint(delta)
        self._wait({key: value for key, value in delta.items() if key != "tool_calls"}, size)

    def fail(self, error: Any) -> None:
        """Take the upstream's own error."""
        message = error.get("message") if isinstance(error, dict) else error
        self.error = message if isinstance(message, str) else "the upstream sent an error without a message"

    def finish(self, reason: str | None) -> None:
        """The turn is over: every call is decided, an injected one that was cut off is dropped."""
        self.finish_reason = reason or self.finish_reason
        self.calls.settle()
        if reason in CUT_SHORT:
            drafts = self.calls.drafts
            # Only the last call can be cut off; without arguments it was cut off before them.
            whole = [d.arguments_whole and (d is not drafts[-1] or bool(d.arguments)) for d in drafts]
            self.calls.drafts = [d for d, ok in zip(drafts, whole, strict=True) if ok or not d.injected]
            self._dropped = len(self.calls.drafts) < len(drafts)

    def drop_injected(self) -> bool:
        """Nothing comes after this turn: forget its injected calls; true where there were any."""
        had = self.has_injected
        self.calls.drafts = [draft for draft in self.calls.drafts if not draft.injected]
        self._dropped = self._dropped or had
        return had

    @property
    def has_hidden(self) -> bool:
        """True where the client must not see all of this turn."""
        return self._dropped or self.has_injected

    @property
    def has_injected(self) -> bool:
        """True where aibridge has to run a call of this turn."""
        return any(draft.injected for draft in self.calls.drafts)

    @property
    def has_clients(self) -> bool:
        """True where the client gets a call of this turn."""
        return any(not draft.injected for draft in self.calls.drafts)

    def turn(self) -> Turn:
        """What was read."""
        return Turn(
            # Where the turn was cut short, a call that nobody decided was given to nobody.
            calls=[draft.call() for draft in self.calls.drafts if draft.injected is not None],
            finish_reason=self.finish_reason,
            response_id=self.response_id,
            model=self.model,
            usage=read_usage(self.usage),
            thought=self._thought(),
            message=self.message,
            text=lambda: content_text(self._folded().get("content")),
            pieces=self.pieces,
            error=self.error,
        )

    def message(self) -> dict[str, Any]:
        """The assistant message as it goes back upstream."""
        message = {key: value for key, value in self._folded().items() if value is not None}
        calls = [draft.message() for draft in self.calls.drafts]
        return {"role": "assistant", "content": None, **message, **({"tool_calls": calls} if calls else {})}

    def _thought(self) -> str | None:
        """The reasoning text; nothing is folded for it where none came."""
        message = self._folded() if self._reasons else {}
        for key in REASONING:
            if isinstance(found := message.get(key), str) and found:
                return found
        return None

    def _folded(self) -> dict[str, Any]:
        self._fold_pending()
        return self._message

    def _fold_pending(self) -> None:
        pending, self._pending, self._pending_size = self._pending, [], 0
        fold(self._message, *(delta for each in pending for delta in _deltas(each)))


def _deltas(pending: bytes | dict[str, Any]) -> list[dict[str, Any]]:
    if isinstance(pending, dict):
        return [pending]
    deltas = (first_delta(parsed(event)) for event in split(pending))
    return [delta for delta in deltas if isinstance(delta, dict)]


def _usage(chunk: dict[str, Any]) -> dict[str, Any] | None:
    """Usage where it belongs, or where Groq (`x_groq`) and Moonshot (the choice) put it."""
    for place in (chunk, chunk.get("x_groq"), first_choice(chunk)):
        usage = place.get("usage") if isinstance(place, dict) else None
        if isinstance(usage, dict):
            return usage
    return None


def parsed(event: Event) -> Any:
    """The JSON value of an event's data; None where it has none."""
    try:
        return loads(event.data or b"")
    except ValueError:
        return None


def first_delta(chunk: Any) -> Any:
    """The delta of choice 0, the only one where tools are injected."""
    choice = first_choice(chunk)
    return choice.get("delta") if choice else None


def first_choice(chunk: Any) -> dict[str, Any] | None:
    """Choice 0 of a chunk or body."""
    choices = chunk.get("choices") if isinstance(chunk, dict) else None
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and choice.get("index", 0) in (0, None):
            return choice
    return None


def calls_in(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The calls, or pieces of calls, in a message or delta; what is no call is passed over."""
    calls = message.get("tool_calls")
    return [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []


def content_text(content: Any) -> str:
    """The text in a message's content, string or parts."""
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, dict) and part.get("type") == "text"]
        return "".join(part["text"] for part in parts if isinstance(part.get("text"), str))
    return content if isinstance(content, str) else ""
