"""What the client sees of upstream streams: one response, its own calls, and nothing hidden.

In round 1 events pass as they came, until something is taken out or put in; then, and in later rounds, they
are counted anew. The terminal event is held until what was hidden is kept, and shown once.
"""

import re
from collections.abc import Sequence

from aibridge.dialects.base import InvalidAnswer, Manner, Shown, Turn
from aibridge.dialects.naming import Names
from aibridge.dialects.responses.echo import Echo
from aibridge.dialects.responses.face import Face
from aibridge.dialects.responses.items import said_in
from aibridge.dialects.responses.reading import Draft, Reader
from aibridge.dialects.responses.showing import ShownCalls
from aibridge.errors import BridgeError, UpstreamRefused
from aibridge.nouns import Result, Tool
from aibridge.wire.json_text import ObjectText
from aibridge.wire.sse import Decoder, Event, TooLong

OPENINGS = frozenset({"response.created", "response.queued", "response.in_progress"})
TERMINALS = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})
# An event that holds none of these is a delta, or unknown: in round 1 it needs no understanding. Within a
# text a quotation mark is escaped, so what follows one is a key or a value.
MEANINGFUL = re.compile(
    rb'"(?:response\.(?:created|queued|in_progress|completed|incomplete|failed|cancelled|output_item\.)|error")'
    rb"|\[DONE\]"
)
TEXT = re.compile(rb'"response\.(?:output_text|refusal)\.delta"')


class StreamView:
    """One streamed answer for the client, over all rounds."""

    def __init__(
        self, names: Names, tools: Sequence[Tool], echo: Echo, manner: Manner, *, one_text: bool
    ) -> None:
        self.names, self.one_text = names, one_text and names.any_injected
        self.face = Face(echo, manner, hides=names.any_injected)
        self.shown_calls = ShownCalls(self.face, tools) if manner.calls == "shown" else None

    def open_round(self, *, last: str | None = None) -> "StreamRound":
        """The next upstream answer; `last`: what to say where nothing was said at its end."""
        self.face.rounds += 1
        if self.face.rounds > 1:
            self.face.count()
        return StreamRound(self, last)

    def results(self, turn: Turn, results: Sequence[Result]) -> bytes:
        """The ends of the calls that are shown."""
        self.face.tools_ran = True
        if self.shown_calls is None:
            return b""
        return self.shown_calls.settle({result.call_id: result for result in results})

    def keep_alive(self) -> bytes:
        """`response.in_progress` again."""
        return self.face.keep_alive()

    def failure(self, error: BridgeError | UpstreamRefused) -> bytes:
        """`response.failed`."""
        ends = self.shown_calls.settle({}) if self.shown_calls else b""
        return ends + self.face.failure(error)

    def shown(self) -> Shown | None:
        """The response of the terminal event, and what was asked."""
        return self.face.shown()

    def close(self) -> bytes:
        """The terminal event."""
        return self.face.close()


class StreamRound:
    """One upstream stream on its way to the client."""

    def __init__(self, view: StreamView, last: str | None) -> None:
        self._view, self._face, self._last = view, view.face, last
        self._decoder = Decoder()
        self._reader = Reader(view.names, view.face.rounds)
        self._first = view.face.rounds == 1
        self._held: dict[Draft, list[tuple[Event, ObjectText]]] = {}
        self._terminal: tuple[Event, ObjectText] | None = None
        self._any_event = False
        self.ended = self.text_seen = False

    def take(self, chunk: bytes) -> bytes:
        """Reads bytes of the stream; gives the whole events that the client gets for them."""
        try:
            return self._take(self._decoder.feed(chunk))
        except TooLong:
            raise InvalidAnswer("sent an event without an end") from None

    def finish(self) -> tuple[Turn, bytes]:
        """The turn, and what was held. Raises InvalidAnswer when the stream was cut."""
        shown = self._take([event for event in self._decoder.finish() if not _is_torn(event)])
        if self._terminal is None and self._reader.error is None:
            cut = "broke off the stream before its answer was finished"
            raise InvalidAnswer(cut if self._any_event else "sent an empty stream")
        reader, face = self._reader, self._face
        if reader.usage is not None:
            face.usages.append(reader.usage)
        ends = self._answer_at_last() if self._last is not None else b""
        turn = reader.turn()
        hidden = bool(turn.injected_calls and not turn.client_calls) and turn.error is None
        shown += self._decided(hidden=hidden) + ends
        if not hidden:
            face.terminal = self._terminal
        face.text_shown = face.text_shown or any(said_in(draft.value) for draft in self._seen())
        face.holding = not turn.injected_calls or turn.error is not None
        return turn, shown

    def abandon(self) -> Turn:
        """The turn as far as it came."""
        return self._reader.turn()

    def _take(self, events: list[Event]) -> bytes:
        if self.ended:
            return b""  # the rest of a stream whose end was seen
        whole = b"".join([event.raw for event in events])
        if events and self._passes(whole):
            self._reader.pieces += len(events)
            self._face.passed(events[-1], len(events))
            return whole
        return b"".join([self._show(event) for event in events if not self.ended])

    def _passes(self, raw: bytes) -> bool:
        """True where the client gets these bytes as they are and nothing in them has to be understood."""
        self.text_seen = self.text_seen or bool(TEXT.search(raw))
        known = self._first and not self._face.counting and not self._view.one_text and not self._held
        return known and not MEANINGFUL.search(raw)

    def _show(self, event: Event) -> bytes:
        if self._passes(event.raw):
            self._reader.pieces += 1
            self._face.passed(event)
            return event.raw
        data = event.data
        if data is None:
            return event.raw
        self._any_event = True
        try:
            text = ObjectText.read(data)
        except ValueError:
            # `[DONE]` belongs to chat completions; anything else the client gets as the upstream said it.
            return b"" if data.strip() == b"[DONE]" else event.raw
        kind = text.value.get("type")
        if kind in TERMINALS and isinstance(text.value.get("response"), dict):
            return self._end(event, text)
        if kind in OPENINGS and isinstance(text.value.get("response"), dict):
            return self._open(event, text)
        if kind == "error" or (kind is None and text.value.get("error")):
            return self._fail(event, text)
        return self._show_item(event, text)

    def _open(self, event: Event, text: ObjectText) -> bytes:
        self._reader.head(text.value["response"])
        if not self._first:
            return b""
        response = ObjectText.read(text.source("response"))
        changes = self._face.echo.changes(response)
        shown = response.replace(changes)
        self._face.opening = ObjectText.read(shown) if changes else response
        return self._face.dressed(event, text, {"response": shown} if changes else {}, None)

    def _end(self, event: Event, text: ObjectText) -> bytes:
        """The last event: what it says is read now, shown when the view closes."""
        response = ObjectText.read(text.source("response"))
        self._reader.finish(response)
        self.ended, self._terminal = True, (event, text)
        if self._face.opening is None:
            self._face.opening = ObjectText.read(response.replace(self._face.echo.changes(response)))
        self._face.holding = True
        return b""

    def _fail(self, event: Event, text: ObjectText) -> bytes:
        """The upstream's own error; `response.failed` may follow."""
        self._reader.fail(text.value.get("error") or text.value)
        return self._face.dressed(event, text, {}, None)

    def _show_item(self, event: Event, text: ObjectText) -> bytes:
        self._reader.pieces += 1
        draft = self._reader.take(text)
        if draft is None:
            return self._face.dressed(event, text, {}, None)
        if draft.injected is None or self._waits(draft):
            self._held.setdefault(draft, []).append((event, text))
            return b""
        held = self._held.pop(draft, [])
        return b"".join([self._show_of(draft, *each) for each in (*held, (event, text))])

    def _waits(self, draft: Draft) -> bool:
        """True for a text that would not be JSON any more if that of another turn came before or after it."""
        return self._view.one_text and draft.kind == "message"

    def _show_of(self, draft: Draft, event: Event, text: ObjectText) -> bytes:
        """What the client gets for an event of an item whose side is known."""
        if draft.injected:
            self._face.count()
            return self._view.shown_calls.show(draft, text) if self._view.shown_calls else b""
        shown = self._face.dressed(event, text, {}, draft)
        if draft.text is not None:
            self._face.items[self._face.place(draft)] = draft.text
            self.text_seen = self.text_seen or bool(said_in(draft.value))
        return shown

    def _decided(self, *, hidden: bool) -> bytes:
        """The turn is over: what was held is shown, unless it is a hidden turn's text that is not."""
        shown: list[bytes] = []
        for draft, events in self._held.items():
            if not (hidden and self._waits(draft)):
                self._face.count()
                shown += [self._show_of(draft, *each) for each in events]
        self._held = {}
        for draft in self._seen():
            if not (hidden and self._waits(draft)):
                self._face.items[self._face.place(draft)] = draft.whole_text
        return b"".join(shown)

    def _seen(self) -> list[Draft]:
        return [draft for draft in self._reader.drafts if not draft.injected]

    def _answer_at_last(self) -> bytes:
        """Nothing comes after this turn; where nothing was said at all, our sentence is its text."""
        assert self._last is not None
        had = self._reader.has_injected or bool(self._reader.dropped)
        self._reader.drop_injected()
        if had:
            self._face.count()
        ends = self._view.shown_calls.settle({}) if self._view.shown_calls else b""
        silent = not (self._face.text_shown or self._reader.text() or self._reader.calls())
        if not silent or self._reader.error is not None:
            return ends
        draft, events = self._face.sentence(self._last)
        self._reader.drafts.append(draft)
        self.text_seen = True
        return ends + events


def _is_torn(event: Event) -> bool:
    """True for what a stream that ended inside an event left of it: no client can read that."""
    if event.data is None:
        return not event.comment_only
    try:
        ObjectText.read(event.data)
    except ValueError:
        return event.data.strip() != b"[DONE]"
    return False
