"""What the client sees of an upstream stream: its own calls, one role, one finish, and nothing hidden.

In round 1 events pass as they came, unless an injected call is in them; in later rounds they wear the
face of round 1. What the table "The stream to the client" (2-wire.md) says is done here, row by row.
"""

from collections.abc import Sequence
from typing import Any

from aibridge.dialects.base import InvalidAnswer, Turn, UsageShown
from aibridge.dialects.chat_completions.calls import Draft
from aibridge.dialects.chat_completions.face import KEEP_ALIVE, Face, error_event
from aibridge.dialects.chat_completions.meaning import Alike, may_mean_something, shows_text
from aibridge.dialects.chat_completions.reading import Reader, calls_in, first_choice, parsed
from aibridge.dialects.naming import Names
from aibridge.errors import BridgeError, UpstreamRefused
from aibridge.nouns import Result
from aibridge.wire.json_text import ObjectText, dumps
from aibridge.wire.sse import Decoder, Event, TooLong, encode, split

CHUNK = frozenset({"id", "choices", "usage"})
"""Keys of which every chunk has one."""
Piece = tuple[Draft, dict[str, Any]]


class StreamView:
    """One streamed answer for the client, over all rounds."""

    def __init__(self, names: Names, separator: str, usage: UsageShown | None, *, one_text: bool) -> None:
        # With one_text a hidden turn's text is not shown, so there is nothing to separate.
        self._one_text = one_text and names.any_injected
        self._face = Face(names, "" if one_text else separator, usage, hides=names.any_injected)

    def open_round(self, *, last: str | None = None) -> "StreamRound":
        """The next upstream answer; `last`: what to say where nothing was said at its end."""
        self._face.rounds += 1
        return StreamRound(self._face, one_text=self._one_text, last=last)

    def results(self, turn: Turn, results: Sequence[Result]) -> bytes:
        """Nothing: chat completions have no form for calls that the server runs."""
        return b""

    def keep_alive(self) -> bytes:
        """A comment."""
        return KEEP_ALIVE

    def failure(self, error: BridgeError | UpstreamRefused) -> bytes:
        """An error object as an event."""
        return error_event(error)

    def shown(self) -> None:
        """A completion is not read again."""

    def close(self) -> bytes:
        """The usage chunk, where the client asked and none passed already, and `[DONE]`."""
        if self._face.failed:
            return b""
        return self._face.held_finish + self._face.usage_chunk() + self._face.done


class StreamRound:
    """One upstream stream on its way to the client."""

    def __init__(self, face: Face, *, one_text: bool, last: str | None) -> None:
        self._face, self._one_text, self._last = face, one_text, last
        self._first = face.rounds == 1
        self._decoder, self._alike = Decoder(), Alike()
        self._reader = Reader(face.names, face.rounds, keep_message=face.hides)
        self._held: list[Draft] = []
        self._waiting: list[bytes] = []
        self._role_before = face.role_shown
        self._any_event = self._finished = self._text_begun = False
        self.ended = self.text_seen = False

    def take(self, chunk: bytes) -> bytes:
        """Reads bytes of the stream; gives the whole events that the client gets for them."""
        try:
            return self._take(self._decoder.block(chunk))
        except TooLong:
            raise InvalidAnswer("sent an event without an end") from None

    def finish(self) -> tuple[Turn, bytes]:
        """The turn, and what was held. Raises InvalidAnswer when the stream was cut."""
        rest = [event for event in self._decoder.finish() if not _is_torn(event)]
        shown = self._given(self._show_all(rest))
        if self._reader.error is None and not self._finished:
            if not self.ended:
                cut = "broke off the stream before its answer was finished"
                raise InvalidAnswer(cut if self._any_event else "sent an empty stream")
            shown += self._finish_unsaid()
        turn = self._end()
        if turn.error is None and turn.injected_calls and not turn.client_calls:
            # The text itself: what looked like one may have been reasoning or a log probability.
            visible = self.text_seen and not self._one_text and bool(turn.text())
            self._face.text_shown = self._face.text_shown or visible
            self._face.role_shown = self._role_before if self._one_text else self._face.role_shown
            return turn, shown
        return turn, b"".join(self._waiting) + shown

    def abandon(self) -> Turn:
        """The turn as far as it came."""
        return self._end()

    def _end(self) -> Turn:
        if self._reader.usage is not None:
            self._face.usages.append(self._reader.usage)
        return self._reader.turn()

    def _take(self, block: bytes) -> bytes:
        """Whole events: those that are like one before, and only pass, are given in one piece."""
        if b"\r" in block:
            return self._given(self._show_all(split(block)))
        shown: list[bytes] = []
        at = 0
        while at < len(block) and not self.ended:  # after its end was seen, the rest of a stream is nothing
            count, end = self._alike.run(block, at)
            if count:
                self.text_seen = True
                shown.append(block[at:end])
                self._reader.keep_texts(shown[-1], count)
            else:
                end = block.index(b"\n\n", at) + 2
                shown.append(self._show(Event(block[at:end])))
            at = end
        return self._given(shown)

    def _show_all(self, events: Sequence[Event]) -> list[bytes]:
        return [self._show(event) for event in events if not self.ended]

    def _given(self, shown: list[bytes]) -> bytes:
        """What was shown, unless the turn has to be known before anything of it is."""
        if not self._one_text:
            return b"".join(shown)
        self._waiting += shown
        return b""

    def _passes(self, raw: bytes) -> bool:
        """True where the client gets these bytes as they are and nothing in them has to be understood."""
        self.text_seen = self.text_seen or shows_text(raw)
        known = self._first and self._face.known and not self._one_text
        return known and not may_mean_something(raw)

    def _show(self, event: Event) -> bytes:
        if self._passes(event.raw):
            self._reader.keep(event.raw)
            self._alike.learn(event.raw)
            return event.raw
        data = event.data
        if data is None:
            return event.raw
        self._any_event = True
        if data.strip() == b"[DONE]":
            self.ended, self._face.done = True, event.raw
            return b""
        try:
            chunk = ObjectText.read(data)
        except ValueError:
            return event.raw  # no chunk: the client gets what the upstream said
        if chunk.value.get("error"):
            self._reader.fail(chunk.value["error"])
            self.ended = self._face.failed = True
            return event.raw
        return self._show_chunk(event, chunk)

    def _show_chunk(self, event: Event, chunk: ObjectText) -> bytes:
        if not chunk.value.keys() & CHUNK:
            return event.raw  # a ping, or an event of the upstream's own
        self._reader.head(chunk.value)
        self._face.learn(chunk)
        choice = first_choice(chunk.value)
        if choice is None:
            return self._show_without_choice(event, chunk)
        delta = choice.get("delta")
        delta = delta if isinstance(delta, dict) else {}
        self._reader.delta(delta, len(event.raw))
        pieces = self._reader.calls.take(calls_in(delta))
        told = choice.get("finish_reason")
        if told:
            choice = {**choice, "finish_reason": self._finish_with(told)}
        shown = self._shown_pieces(pieces)
        role_again = "role" in delta and self._face.role_shown
        same = shown == [piece for _, piece in pieces] and (self._first or not role_again)
        same = same and choice.get("finish_reason") == told
        self._face.role_shown = self._face.role_shown or "role" in delta
        hidden_finish = self._finished and self._reader.has_injected
        before = self._separator(delta) + (self._apology() if self._finished else b"")
        if same and not hidden_finish:
            return before + self._dressed(event, chunk, {})
        visible = {k: v for k, v in delta.items() if k != "tool_calls" and not (k == "role" and role_again)}
        if shown:
            visible["tool_calls"] = shown
        return before + self._show_changed(event, chunk, {**choice, "delta": visible}, hidden_finish)

    def _finish_with(self, reason: str | None) -> str | None:
        """The turn is over; the finish reason as the client gets it."""
        self._finished = True
        self._reader.finish(reason)
        if self._last is not None and self._reader.drop_injected() and not self._reader.has_clients:
            return "stop"
        return reason

    def _apology(self) -> bytes:
        """At the end of a last round in which nothing was said in the whole exchange, a sentence of ours."""
        if self._last is None or self.text_seen or self._face.text_shown or self._reader.has_clients:
            return b""
        self.text_seen = True
        self._reader.delta({"content": self._last}, 0)  # the client sends it back as the turn's text
        return self._face.chunk({"content": self._last})

    def _show_changed(
        self, event: Event, chunk: ObjectText, choice: dict[str, Any], hidden_finish: bool
    ) -> bytes:
        """An event from which something was taken; nothing where nothing is left."""
        if hidden_finish:
            if self._reader.has_clients and not self._face.held_finish:
                finish = {**choice, "delta": {}, "finish_reason": "tool_calls"}
                self._face.held_finish = self._dressed(event, chunk, {"choices": dumps([finish])})
            choice["finish_reason"] = None
        if not choice.get("finish_reason") and not _says_something(choice["delta"]):
            return b""
        return self._dressed(event, chunk, {"choices": dumps([choice])})

    def _show_without_choice(self, event: Event, chunk: ObjectText) -> bytes:
        """The usage chunk is withheld; anything else without choices (Azure's filter results) is shown."""
        if not isinstance(chunk.value.get("usage"), dict):
            return self._dressed(event, chunk, {})
        self._face.last_usage = event
        if self._face.hides or self._face.usage is None:
            return b""
        self._face.usage_passed = True
        return event.raw

    def _shown_pieces(self, pieces: list[Piece]) -> list[dict[str, Any]]:
        """The client's pieces, counted anew; a call not decided yet waits, then comes in one piece."""
        held, self._held = self._held, []
        by_call: dict[Draft, list[dict[str, Any]]] = {draft: [] for draft in held}
        for draft, piece in pieces:
            by_call.setdefault(draft, []).append(piece)
        shown: list[dict[str, Any]] = []
        for draft, own in by_call.items():
            if draft.injected is None:
                self._held.append(draft)
            elif not draft.injected:
                whole = [draft.message()] if draft in held else own
                shown += [self._counted(draft, piece) for piece in whole]
        return shown

    def _counted(self, draft: Draft, piece: dict[str, Any]) -> dict[str, Any]:
        """A client's piece with the index that the client counts by, and an id where it begins.

        Counted from the first call on, whatever the upstream's index: an injected one may come yet.
        """
        if not self._face.hides:
            return piece
        begins = draft.shown_index is None
        if draft.shown_index is None:
            draft.shown_index = sum(each.shown_index is not None for each in self._reader.calls.drafts)
        counted = piece if piece.get("index") == draft.shown_index else {**piece, "index": draft.shown_index}
        return {**counted, "id": draft.id} if begins and piece.get("id") != draft.id else counted

    def _finish_unsaid(self) -> bytes:
        """`[DONE]` came without a finish reason: held calls are shown, a mixed turn gets its finish."""
        reason = self._finish_with(None)
        shown = self._shown_pieces([])
        if self._reader.has_injected and self._reader.has_clients:
            self._face.held_finish = self._face.chunk({}, "tool_calls")
        calls = self._face.chunk({"tool_calls": shown}) if shown else b""
        return calls + self._apology() + (self._face.chunk({}, reason) if reason else b"")

    def _separator(self, delta: dict[str, Any]) -> bytes:
        """What stands between this turn's text and that of a turn before it."""
        begins = bool(delta.get("content")) and not self._text_begun
        self._text_begun = self._text_begun or begins
        if self._first or not begins or not (self._face.text_shown and self._face.separator):
            return b""
        return self._face.chunk({"content": self._face.separator})

    def _dressed(self, event: Event, chunk: ObjectText, changes: dict[str, str]) -> bytes:
        """The event in the face of round 1."""
        changes = changes if self._first else {**self._face.fields, **changes}
        return encode(chunk.replaced(changes), event.name) if changes else event.raw


def _is_torn(event: Event) -> bool:
    """True for what a stream that ended inside an event left of it: no client can read that."""
    if event.data is None:
        return not event.comment_only
    return event.data.strip() != b"[DONE]" and parsed(event) is None


def _says_something(delta: dict[str, Any]) -> bool:
    return any(value not in (None, "", []) for value in delta.values())
