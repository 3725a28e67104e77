"""The one response that the client sees over all rounds: its id, its counters, its items, its last event.

In round 1 the upstream's own numbers stand, until something is taken out or put in; from then on events are
counted anew. Events in our own words are made here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from aibridge.dialects import openai_errors
from aibridge.dialects.base import Manner, Shown
from aibridge.dialects.responses.echo import Echo
from aibridge.dialects.responses.items import sentence
from aibridge.dialects.responses.reading import Draft
from aibridge.dialects.usage import shown_usage
from aibridge.errors import BridgeError, Kind, UpstreamRefused
from aibridge.wire.json_text import ObjectText, dumps, loads
from aibridge.wire.sse import Event, encode

COMMENT = b": keep-alive\n\n"
CODES = {429: "rate_limit_exceeded", 503: "server_is_overloaded"}
"""Of an error status whose body gives no code: what Codex knows of them (its `process_sse`)."""
ONCE = "invalid_prompt"
"""The code at which Codex does not ask again: after tools have run, that would run them twice."""

FINAL = frozenset({"context_length_exceeded", "insufficient_quota"})
"""Codes at which no client asks again."""


class Face:
    """What is common to all rounds of one streamed answer."""

    def __init__(self, echo: Echo, manner: Manner, *, hides: bool) -> None:
        self.echo, self.manner, self.hides = echo, manner, hides
        self.opening: ObjectText | None = None
        """The response object of the first event, as the client sees it; None before it."""
        self.rounds = 0
        self.counting = self.text_shown = self.holding = self.ended = self.tools_ran = False
        self.usages: list[dict[str, Any]] = []
        self.items: dict[int, str] = {}
        """The items that the client has whole, by their place."""
        self.terminal: tuple[Event, ObjectText] | None = None
        self._sequence = self._passed = self._next_index = 0
        self._last_passed: Event | None = None

    def passed(self, event: Event, number: int = 1) -> None:
        """Note `number` events that went to the client as they came; `event` is the last."""
        self._passed += number
        if b'"sequence_number"' in event.raw:
            self._last_passed = event

    def count(self) -> None:
        """From now on events are counted by us."""
        if self.counting:
            return
        self.counting = True
        self._sequence = self._passed
        if self._last_passed is not None:
            told = loads(self._last_passed.data or b"{}").get("sequence_number")
            self._sequence = told + 1 if isinstance(told, int) else self._passed

    def next_number(self) -> str:
        """The next `sequence_number`."""
        self._sequence += 1
        return str(self._sequence - 1)

    def place(self, draft: Draft) -> int:
        """The item's place among those that the client sees; the upstream's own until we count."""
        if draft.shown_index is None:
            own = draft.index if isinstance(draft.index, int) else None
            draft.shown_index = own if own is not None and not self.counting else self._next_index
            self._next_index = max(self._next_index, draft.shown_index + 1)
        return draft.shown_index

    def dressed(
        self, event: Event, text: ObjectText, changes: Mapping[str, str], draft: Draft | None
    ) -> bytes:
        """The event with our numbers, where we count; else as it came, but for `changes`."""
        if draft is not None:
            self.place(draft)
        if not self.counting:
            self.passed(event)
            return encode(text.replaced(changes), event.name) if changes else event.raw
        changes = dict(changes)
        if "sequence_number" in text.value:
            changes["sequence_number"] = self.next_number()
        if draft is not None and "output_index" in text.value:
            changes["output_index"] = str(self.place(draft))
        return encode(text.replaced(changes), event.name)

    def event(self, kind: str, fields: Mapping[str, Any]) -> bytes:
        """An event of our own."""
        self.count()
        number = int(self.next_number())
        return encode(dumps({"type": kind, **fields, "sequence_number": number}).encode(), kind.encode())

    def keep_alive(self) -> bytes:
        """`response.in_progress` again: Codex's idle timer does not count comments."""
        if self.holding or self.ended:
            return b""
        if self.opening is None:
            return COMMENT
        return self._state("response.in_progress", {"status": '"in_progress"'})

    def failure(self, error: BridgeError | UpstreamRefused) -> bytes:
        """`response.failed` with what the client has so far; `error` where it has no response yet."""
        self.ended = True
        told = _told(error)
        if self.opening is None:
            return self.event("error", told)
        changes = {
            "status": '"failed"',
            "error": dumps({"code": self._code(told["code"]), "message": told["message"]}),
            "output": self.output(),
        }
        return self._state("response.failed", changes)

    def _code(self, told: str) -> str:
        """The code of a failure, such that an agent does not have tools run again that have run."""
        return ONCE if self.tools_ran and told not in FINAL else told

    def _state(self, kind: str, changes: Mapping[str, str]) -> bytes:
        assert self.opening is not None
        self.count()
        response = self.opening.replace(changes)
        text = f'{{"type":"{kind}","response":{response},"sequence_number":{self.next_number()}}}'
        return encode(text.encode(), kind.encode())

    def output(self) -> str:
        """The items that the client has, as a JSON array."""
        return "[" + ",".join(self.items[at] for at in sorted(self.items)) + "]"

    def shown(self) -> Shown | None:
        """The response as the terminal event will have it, and what was asked."""
        if self.terminal is None:
            return None
        response = ObjectText.read(self.terminal[1].source("response"))
        return Shown(response.replace(self.final(response, self.usages)), self.echo.brought())

    def close(self) -> bytes:
        """The one terminal event."""
        if self.terminal is None:
            return b""
        event, text = self.terminal
        self.ended = True  # nothing comes after it
        response = ObjectText.read(text.source("response"))
        changes = self.final(response, self.usages)
        shown = {"response": response.replace(changes)} if changes else {}
        return self.dressed(event, text, shown, None)

    def final(self, response: ObjectText, usages: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        """What of the last round's response object the client has to see otherwise."""
        changes = self.echo.changes(response)
        if not self.counting:
            return changes
        changes["output"] = self.output()
        error = response.value.get("error")
        if isinstance(error, dict):
            changes["error"] = dumps({**error, "code": self._code(str(error.get("code")))})
        if self.rounds > 1:
            changes.update(self.identity())
            if usages:
                changes["usage"] = dumps(shown_usage(usages, self.manner.usage))
        return changes

    def identity(self) -> dict[str, str]:
        """What all response objects of the answer have in common."""
        return self.echo.identity(self.opening) if self.opening is not None else {}

    def sentence(self, text: str) -> tuple[Draft, bytes]:
        """A message of our own, with all its events."""
        self.count()
        whole = sentence(text, f"{self.opening.value.get('id') if self.opening else ''}:{self.rounds}")
        part, item_id = whole["content"][0], whole["id"]
        begun = {**whole, "status": "in_progress", "content": []}
        draft = Draft(whole, None)
        draft.become(dumps(whole), whole)
        place = {"output_index": self.place(draft)}
        at = {"item_id": item_id, **place, "content_index": 0}
        return draft, b"".join(
            [
                self.event("response.output_item.added", {**place, "item": begun}),
                self.event("response.content_part.added", {**at, "part": {**part, "text": ""}}),
                self.event("response.output_text.delta", {**at, "delta": text, "logprobs": []}),
                self.event("response.output_text.done", {**at, "text": text, "logprobs": []}),
                self.event("response.content_part.done", {**at, "part": part}),
                self.event("response.output_item.done", {**place, "item": whole}),
            ]
        )


def _told(error: BridgeError | UpstreamRefused) -> dict[str, Any]:
    """Code, message and param of a failure, the code such as clients know."""
    if isinstance(error, BridgeError):
        code = "server_is_overloaded" if error.kind is Kind.OVERLOADED else error.kind.code
        return {"code": code, "message": error.message, "param": error.param}
    told = openai_errors.told_by(error)["error"]
    code = told.get("code") or CODES.get(error.status) or "server_error"
    message = told.get("message") if isinstance(told.get("message"), str) else str(error)
    headers = {name.lower(): value for name, value in error.headers}
    after = headers.get(b"retry-after", b"").decode()
    if error.status == 429 and after.isdigit() and "try again in" not in message.lower():
        message = f"{message} Please try again in {after}s."  # where Codex looks for how long to wait
    return {"code": str(code), "message": message, "param": told.get("param")}
