"""The pair as the bridge sees it: a request there, its answer back, streamed or whole."""

from collections.abc import Mapping
from typing import Any

from aibridge.dialects.base import InvalidAnswer
from aibridge.dialects.chat_completions.reading import first_choice
from aibridge.dialects.translating.base import Asked, Translation
from aibridge.dialects.translating.responses_to_chat.answering import Answering
from aibridge.dialects.translating.responses_to_chat.request import ChatAsked, translated
from aibridge.nouns import SendBack
from aibridge.wire.json_text import dumps, loads
from aibridge.wire.sse import Decoder, Event, TooLong


class ResponsesToChat:
    """Responses over chat completions."""

    source = "responses"
    target = "chat_completions"
    path = "/chat/completions"

    def request(
        self, value: Mapping[str, Any], before: list[Mapping[str, Any]], send_back: SendBack
    ) -> ChatAsked:
        """The request translated. Raises BridgeError (400) that names what cannot be."""
        return translated(value, before, send_back)

    def answer(self, value: Mapping[str, Any], asked: Asked) -> Translation:
        """What turns the answer to the request `value` back."""
        assert isinstance(asked, ChatAsked)
        answering = Answering(value, asked)
        return _Stream(answering) if value.get("stream") is True else _Whole(answering)

    def error_body(self, status: int, body: bytes, upstream: str) -> bytes:
        """OpenAI's error object, whatever shape the upstream's has; one that has it stays as it is."""
        try:
            told = loads(body)
        except ValueError:
            told = None
        inner = told.get("error", told) if isinstance(told, dict) else None
        if isinstance(told, dict) and isinstance(told.get("error"), dict):
            return body
        message = inner if isinstance(inner, str) else _message(inner)
        kind = "invalid_request_error" if status < 500 else "server_error"
        shown = message or f"upstream '{upstream}' answered {status}"
        return dumps({"error": {"message": shown, "type": kind, "param": None, "code": None}}).encode()


def _message(told: Any) -> str | None:
    """Where servers that do not follow OpenAI put the sentence."""
    for key in ("message", "detail"):
        found = told.get(key) if isinstance(told, dict) else None
        if found:
            return found if isinstance(found, str) else dumps(found)
    return None


class _Stream:
    """Chunks as they come, events as they go."""

    def __init__(self, answering: Answering) -> None:
        self._answering, self._decoder = answering, Decoder()
        self.ended = False

    @property
    def kept(self) -> Mapping[str, Any]:
        """The answer as it is kept; nothing where it failed."""
        return self._answering.final if self._answering.whole else {}

    def take(self, chunk: bytes) -> bytes:
        """The client's events for bytes of the upstream."""
        try:
            events = self._decoder.feed(chunk)
        except TooLong:
            raise InvalidAnswer("sent an event without an end") from None
        self._hear(events)
        return self._answering.events()

    def finish(self) -> bytes:
        """The end of the body: whole where it had a finish reason or `[DONE]`."""
        self._hear(self._decoder.finish())
        if not self.ended:
            if not self._answering.finished:
                cut = "broke off the stream before its answer was finished"
                raise InvalidAnswer(cut if self._answering.begun else "sent an empty stream")
            self._end()
        return self._answering.events()

    def _hear(self, events: list[Event]) -> None:
        for event in events:
            data = event.data
            if data is None or self.ended:
                continue
            if data.strip() == b"[DONE]":
                self._end()
                continue
            try:
                chunk = loads(data)
            except ValueError:
                continue
            if isinstance(chunk, dict):
                self._chunk(chunk)

    def _chunk(self, chunk: dict[str, Any]) -> None:
        if chunk.get("error"):
            self.ended = True
            self._answering.fails(chunk["error"])
        elif chunk.keys() & {"id", "choices", "usage"}:
            self._answering.chunk(chunk)

    def _end(self) -> None:
        self.ended = True
        if self._answering.begun:
            self._answering.ends()


class _Whole:
    """One body."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering
        self._pieces: list[bytes] = []
        self.ended = False

    @property
    def kept(self) -> Mapping[str, Any]:
        """The answer as it is kept; nothing where it failed."""
        return self._answering.final if self._answering.whole else {}

    def take(self, chunk: bytes) -> bytes:
        """Nothing before all is there."""
        self._pieces.append(chunk)
        return b""

    def finish(self) -> bytes:
        """The response object."""
        try:
            body = loads(b"".join(self._pieces))
        except ValueError:
            raise InvalidAnswer("answered with a body that is no JSON") from None
        self.ended = True
        if isinstance(body, dict) and body.get("error"):
            self._answering.fails(body["error"])
        elif not isinstance(body, dict) or first_choice(body) is None:
            raise InvalidAnswer("answered with a body that has no choices")
        else:
            self._answering.chunk(body)
            self._answering.ends()
        return dumps(self._answering.final).encode()
