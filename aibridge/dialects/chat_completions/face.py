"""The face that the client sees over all rounds of a streamed exchange, and the events in our own words.

Holds what later rounds need to know of earlier ones: round 1's id and model, whether a role or text was
shown, and every round's usage.
"""

from typing import Any

from aibridge.dialects import openai_errors
from aibridge.dialects.base import UsageShown
from aibridge.dialects.naming import Names
from aibridge.dialects.usage import shown_usage
from aibridge.errors import BridgeError, UpstreamRefused
from aibridge.wire.json_text import ObjectText, dumps
from aibridge.wire.sse import Event, encode

FIELDS = ("id", "created", "model", "system_fingerprint")
DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"


def error_event(error: BridgeError | UpstreamRefused) -> bytes:
    """`data: {"error": …}`; an upstream's own error object is handed on."""
    if isinstance(error, BridgeError):
        return encode(openai_errors.error_body(error))
    return encode(dumps(openai_errors.told_by(error)).encode())


class Face:
    """What is common to all rounds of one streamed answer."""

    def __init__(self, names: Names, separator: str, usage: UsageShown | None, *, hides: bool) -> None:
        self.names, self.separator, self.usage, self.hides = names, separator, usage, hides
        self._first: ObjectText | None = None
        self._fields: dict[str, str] = {}
        self.rounds = 0
        self.role_shown = self.text_shown = self.usage_passed = False
        self.usages: list[dict[str, Any]] = []
        self.last_usage: Event | None = None
        self.held_finish = b""
        self.failed = False
        self.done = DONE

    def learn(self, chunk: ObjectText) -> None:
        """Take the face of round 1 from its first chunk; Azure's first one, without choices, has none."""
        if self._first is None and (chunk.value.get("id") or chunk.value.get("choices")):
            self._first = chunk

    @property
    def known(self) -> bool:
        """True from round 1's first chunk on."""
        return self._first is not None

    @property
    def fields(self) -> dict[str, str]:
        """Round 1's id, created, model, system_fingerprint as JSON texts; empty before its first chunk."""
        if self._first is not None and not self._fields:  # most exchanges never need them
            told = self._first.value
            self._fields = {key: self._first.source(key) for key in FIELDS if told.get(key) is not None}
        return self._fields

    def chunk(self, delta: dict[str, Any], reason: str | None = None) -> bytes:
        """A chunk of our own with one delta."""
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return self._event({"choices": dumps([choice])})

    def usage_chunk(self) -> bytes:
        """The one usage chunk, where the client asked and none passed already.

        Of a single round's usage nothing is made: it may have come on the finish chunk.
        """
        if self.usage is None or self.usage_passed or not self.usages:
            return b""
        if self.rounds == 1:
            return self.last_usage.raw if self.last_usage else b""
        return self._event({"choices": "[]", "usage": dumps(shown_usage(self.usages, self.usage))})

    def _event(self, changes: dict[str, str]) -> bytes:
        known = {key: self.fields.get(key) for key in FIELDS}
        fields = {"id": None, "object": '"chat.completion.chunk"', **known, **changes}
        text = ",".join(f'"{key}":{value}' for key, value in fields.items() if value is not None)
        return encode(b"{" + text.encode() + b"}")
