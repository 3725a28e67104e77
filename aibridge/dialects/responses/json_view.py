"""What the client sees of an exchange that is not streamed: one response object, by the rules of the stream.

The only round's body is the client's as it came, less what it echoes of injected tools. After hidden rounds
it is the last body with the id of round 1, the visible items of all turns, and the usage of all rounds.
"""

from collections.abc import Sequence

from aibridge.dialects.base import InvalidAnswer, Manner, Shown, Turn
from aibridge.dialects.bodies import read_answer
from aibridge.dialects.naming import Names
from aibridge.dialects.responses.echo import Echo
from aibridge.dialects.responses.items import said_in, sentence
from aibridge.dialects.responses.reading import Draft, Reader
from aibridge.dialects.responses.showing import mcp_call
from aibridge.dialects.usage import shown_usage
from aibridge.errors import BridgeError, UpstreamRefused
from aibridge.nouns import Result, Tool
from aibridge.wire.json_text import ObjectText, dumps


class JsonView:
    """One JSON answer for the client, over all rounds."""

    def __init__(
        self, names: Names, tools: Sequence[Tool], echo: Echo, manner: Manner, *, one_text: bool
    ) -> None:
        self.names = names
        self.bodies: list[ObjectText] = []
        self.raw = b""
        self.text_shown = False
        self._tools = {tool.name: tool for tool in tools}
        self._echo, self._manner, self._one_text = echo, manner, one_text
        self._items: list[Draft] = []
        self._hides = False
        self._results: dict[tuple[int, str], Result] = {}
        self._round_of: dict[Draft, int] = {}

    def open_round(self, *, last: str | None = None) -> "JsonRound":
        """The next upstream answer; `last`: what to say where nothing was said at its end."""
        return JsonRound(self, len(self.bodies) + 1, last)

    def took(self, reader: Reader, *, hidden: bool) -> None:
        """A round is over."""
        self._hides = self._hides or reader.has_injected or bool(reader.dropped)
        for draft in reader.drafts:
            if not (hidden and self._one_text and draft.kind == "message"):
                self._items.append(draft)
                self._round_of[draft] = len(self.bodies)
                self.text_shown = self.text_shown or bool(said_in(draft.value))

    def results(self, turn: Turn, results: Sequence[Result]) -> bytes:
        """Nothing yet: calls that are shown stand in the body."""
        self._results.update({(len(self.bodies), result.call_id): result for result in results})
        return b""

    def keep_alive(self) -> bytes:
        """Nothing: only streams are kept alive."""
        return b""

    def failure(self, error: BridgeError | UpstreamRefused) -> bytes:
        """Nothing: only streams end in an event."""
        return b""

    def shown(self) -> Shown:
        """The body, and what was asked."""
        return Shown(self.close().decode(), self._echo.brought())

    def close(self) -> bytes:
        """The client's body."""
        last, first = self.bodies[-1], self.bodies[0]
        changes = self._echo.changes(last)
        if self._hides or len(self.bodies) > 1:
            texts = (self._shown(draft) for draft in self._items)
            changes["output"] = "[" + ",".join(filter(None, texts)) + "]"
        if len(self.bodies) > 1:
            begun = ObjectText.read(first.replace(self._echo.changes(first)))
            changes.update(self._echo.identity(begun))
            usages = [
                body.value["usage"] for body in self.bodies if isinstance(body.value.get("usage"), dict)
            ]
            if usages:
                changes["usage"] = dumps(shown_usage(usages, self._manner.usage))
        return last.replaced(changes) if changes else self.raw

    def _shown(self, draft: Draft) -> str | None:
        if not draft.injected:
            return draft.whole_text
        if self._manner.calls == "hidden":
            return None
        call_id = str(draft.value.get("call_id"))
        none = Result(call_id, "Error: not run.", "refused", 0, 0)
        result = self._results.get((self._round_of[draft], call_id), none)
        return dumps(mcp_call(draft.value, self._tools, result))


class JsonRound:
    """One upstream body."""

    def __init__(self, view: JsonView, number: int, last: str | None) -> None:
        self._view, self._last = view, last
        self._reader = Reader(view.names, number)
        self._chunks: list[bytes] = []
        self.ended = self.text_seen = False

    def take(self, chunk: bytes) -> bytes:
        """Reads bytes of the body; the client gets nothing before its end."""
        self._chunks.append(chunk)
        return b""

    def finish(self) -> tuple[Turn, bytes]:
        """The turn. Raises InvalidAnswer when the body is no response object."""
        raw, body = read_answer(self._chunks)
        if not isinstance(body.value.get("output"), list):
            if not body.value.get("error"):
                raise InvalidAnswer("sent an answer without `output`")
            if self._view.bodies:
                raise InvalidAnswer("answered with an error after tools had run")
        self._reader.finish(body)
        self.text_seen = bool(self._reader.text())
        if self._last is not None:
            self._answer_at_last(self._last)
        turn = self._reader.turn()
        self._view.raw = raw
        self._view.bodies.append(body)
        self._view.took(self._reader, hidden=bool(turn.injected_calls and not turn.client_calls))
        return turn, b""

    def abandon(self) -> Turn:
        """Nothing: a body that is not whole says nothing."""
        return self._reader.turn()

    def _answer_at_last(self, apology: str) -> None:
        """Nothing comes after this turn; where nothing was said at all, our sentence is its text."""
        reader = self._reader
        reader.drop_injected()
        if self._view.text_shown or reader.text() or reader.calls() or reader.error is not None:
            return
        item = sentence(apology, str(reader.response_id))
        draft = Draft(item, None)
        draft.become(dumps(item), item)
        reader.drafts.append(draft)
        self.text_seen = True
