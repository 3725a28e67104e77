"""What the client sees of an exchange that is not streamed: one body, by the rules of the stream.

The only round's body is the client's as it came. After hidden rounds it is the last body with the id of
round 1, the visible texts of all turns joined, the client's calls, and the usage of all rounds.
"""

from collections.abc import Sequence
from typing import Any

from aibridge.dialects.base import InvalidAnswer, Turn, UsageShown
from aibridge.dialects.bodies import read_answer
from aibridge.dialects.chat_completions.face import FIELDS, KEEP_ALIVE, error_event
from aibridge.dialects.chat_completions.reading import CUT_SHORT, Reader, calls_in, content_text, first_choice
from aibridge.dialects.naming import Names
from aibridge.dialects.usage import shown_usage
from aibridge.errors import BridgeError, UpstreamRefused
from aibridge.nouns import Result
from aibridge.wire.json_text import ObjectText, dumps


class JsonView:
    """One JSON answer for the client, over all rounds."""

    def __init__(self, names: Names, separator: str, usage: UsageShown, *, one_text: bool) -> None:
        self.names = names
        self.bodies: list[ObjectText] = []
        self.readers: list[Reader] = []
        self.raw = b""
        self._separator, self._usage, self._one_text = separator, usage, one_text
        self._last: str | None = None

    def open_round(self, *, last: str | None = None) -> "JsonRound":
        """The next upstream answer; `last`: what to say where nothing was said at its end."""
        self._last = last
        return JsonRound(self, len(self.bodies) + 1, last)

    def results(self, turn: Turn, results: Sequence[Result]) -> bytes:
        """Nothing: chat completions have no form for calls that the server runs."""
        return b""

    def keep_alive(self) -> bytes:
        """A comment; only streams are kept alive."""
        return KEEP_ALIVE

    def failure(self, error: BridgeError | UpstreamRefused) -> bytes:
        """An error object as an event; only streams end in one."""
        return error_event(error)

    def shown(self) -> None:
        """A completion is not read again."""

    def close(self) -> bytes:
        """The client's body."""
        last, reader = self.bodies[-1], self.readers[-1]
        if len(self.bodies) == 1 and not reader.has_hidden:
            return self.raw
        first = self.bodies[0]
        changes = {key: first.source(key) for key in FIELDS if first.value.get(key) is not None}
        usages = [body.value["usage"] for body in self.bodies if isinstance(body.value.get("usage"), dict)]
        if usages:
            changes["usage"] = dumps(shown_usage(usages, self._usage))
        changes["choices"] = dumps([self._choice(last, reader)])
        return last.replaced(changes)

    def _choice(self, last: ObjectText, reader: Reader) -> dict[str, Any]:
        choice = first_choice(last.value) or {}
        message = dict(choice.get("message") or {})
        message.pop("tool_calls", None)
        clients = [draft.message() for draft in reader.calls.drafts if not draft.injected]
        content = message.get("content")
        if isinstance(content, list):
            message["content"] = self._parts(content)
        else:
            message["content"] = self.text(self.bodies) or (None if clients else self._last) or content
        if clients:
            message["tool_calls"] = clients
        reason = choice.get("finish_reason")
        if reader.has_hidden and reason not in CUT_SHORT:
            reason = "tool_calls" if clients else "stop"
        return {**choice, "message": message, "finish_reason": reason}

    def _parts(self, content: list[Any]) -> list[Any]:
        """The last turn's parts, the first text of them behind the texts of the turns before."""
        before = "" if self._one_text else self.text(self.bodies[:-1])
        if not before:
            return content
        for at, part in enumerate(content):
            if isinstance(part, dict) and part.get("type") == "text":
                joined = {**part, "text": self._separator.join(filter(None, (before, part.get("text"))))}
                return [*content[:at], joined, *content[at + 1 :]]
        return [{"type": "text", "text": before}, *content]

    def text(self, bodies: Sequence[ObjectText]) -> str:
        """What the client reads of these turns."""
        bodies = bodies[-1:] if self._one_text else bodies
        messages = [(first_choice(body.value) or {}).get("message") or {} for body in bodies]
        return self._separator.join(filter(None, (content_text(each.get("content")) for each in messages)))


class JsonRound:
    """One upstream body."""

    def __init__(self, view: JsonView, number: int, last: str | None) -> None:
        self._view, self._last = view, last
        self._reader = Reader(view.names, number, keep_message=True)
        self._chunks: list[bytes] = []
        self.ended = self.text_seen = False

    def take(self, chunk: bytes) -> bytes:
        """Reads bytes of the body; the client gets nothing before its end."""
        self._chunks.append(chunk)
        return b""

    def finish(self) -> tuple[Turn, bytes]:
        """The turn. Raises InvalidAnswer when the body is no chat completion."""
        raw, body = read_answer(self._chunks)
        if body.value.get("error"):
            self._reader.fail(body.value["error"])
            if self._view.bodies:
                raise InvalidAnswer("answered with an error after tools had run")
        elif not isinstance(body.value.get("choices"), list):
            raise InvalidAnswer("sent an answer without `choices`")
        self._read(body.value)
        if self._last is not None:
            self._answer_at_last(body, self._last)
        self._view.raw = raw
        self._view.bodies.append(body)
        self._view.readers.append(self._reader)
        return self._reader.turn(), b""

    def abandon(self) -> Turn:
        """Nothing: a body that is not whole says nothing."""
        return self._reader.turn()

    def _read(self, body: dict[str, Any]) -> None:
        self._reader.head(body)
        choice = first_choice(body) or {}
        message = choice.get("message")
        message = message if isinstance(message, dict) else {}
        self.text_seen = bool(message.get("content"))
        self._reader.delta(message, 0)
        for at, call in enumerate(calls_in(message)):
            self._reader.calls.take([{**call, "index": at}])  # each is whole, whatever ids they share
        self._reader.finish(choice.get("finish_reason"))

    def _answer_at_last(self, body: ObjectText, apology: str) -> None:
        """Nothing comes after this turn; where nothing was said at all, our sentence is its text."""
        self._reader.drop_injected()
        if not self._reader.has_clients and not self._view.text([*self._view.bodies, body]):
            self._reader.delta({"content": apology}, 0)
            self.text_seen = True
