"""Usage as an answer of any OpenAI-compatible route reports it, for what is passed through unread.

Chat completions and embeddings say `prompt_tokens`, responses and messages `input_tokens`; a stream has its
usage in one of its last events.
"""

from typing import Any

from aibridge.dialects.usage import read_usage
from aibridge.nouns import Usage
from aibridge.wire.json_text import loads
from aibridge.wire.sse import Decoder, TooLong

LONGEST = 1 << 20
"""Bytes of a JSON answer that are looked at; a longer one (images, files) has its usage unread."""


class Reported:
    """Looks on while an answer passes."""

    def __init__(self, media_type: str) -> None:
        self._json = media_type.endswith("json")
        self._stream = Decoder(LONGEST) if media_type == "text/event-stream" else None
        self._seen: list[bytes] = []
        self._size = 0
        self._answer: dict[str, Any] = {}

    def take(self, chunk: bytes) -> None:
        """Look at a piece of the answer; nothing of it is changed."""
        if self._stream is not None:
            self._take_events(chunk)
        elif self._json and self._size <= LONGEST:
            self._seen.append(chunk)
            self._size += len(chunk)

    def usage(self) -> tuple[Usage, str | None, str | None]:
        """The usage (`missing` where there is none), and the answer's id and model."""
        if self._json and self._size <= LONGEST:
            self._note(b"".join(self._seen))
        found = self._answer
        return read_usage(found.get("usage")), _text(found.get("id")), _text(found.get("model"))

    def _take_events(self, chunk: bytes) -> None:
        assert self._stream is not None
        try:
            events = self._stream.feed(chunk)
        except TooLong:
            self._stream = None
            return
        for event in events:
            if b'"usage"' in event.raw:
                self._note(event.data or b"")

    def _note(self, text: bytes) -> None:
        try:
            value = loads(text)
        except ValueError:
            return
        answer = value.get("response", value) if isinstance(value, dict) else None
        if isinstance(answer, dict) and isinstance(answer.get("usage"), dict):
            self._answer = answer


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
