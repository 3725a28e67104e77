"""One upstream answer read into a Turn: its items as they came, whose calls they are, usage, status.

Knows items by the id and the `output_index` that events name. What the client sees of them is for
`relaying`; an answer that is not streamed is read by the same rules from its body.
"""

import hashlib
from typing import Any

from aibridge.dialects.base import Turn
from aibridge.dialects.naming import Names
from aibridge.dialects.responses.items import (
    answered_in,
    arguments_whole,
    clients_call,
    is_injected,
    kind_of,
    said_in,
    text_of,
)
from aibridge.dialects.usage import read_usage
from aibridge.nouns import Call
from aibridge.wire.json_text import ObjectText, dumps, item_spans

Json = dict[str, Any]


class Draft:
    """An item as far as it came."""

    def __init__(self, value: Json, index: Any) -> None:
        self.value, self.index = value, index
        self.text: str | None = None
        """The item whole, as the upstream wrote it."""
        self.injected: bool | None = False
        self.shown_index: int | None = None

    @property
    def kind(self) -> str:
        """The item's type."""
        return kind_of(self.value)

    def become(self, text: str, value: Json) -> None:
        """The item is whole."""
        self.text, self.value = text, value

    @property
    def whole_text(self) -> str:
        """The item as JSON text."""
        return self.text if self.text is not None else dumps(self.value)


class Reader:
    """Reads one round."""

    def __init__(self, names: Names, number: int) -> None:
        self.drafts: list[Draft] = []
        self.usage: Json | None = None
        self.response_id: str | None = None
        self.model: str | None = None
        self.error: str | None = None
        self.status: str | None = None
        self.pieces = 0
        """Events that came; of a stream that is cut short, about its tokens."""
        self.dropped: list[Draft] = []
        """Injected calls that are not run: cut off, or nothing comes after the turn."""
        self._names, self._number = names, number

    def head(self, response: Json) -> None:
        """Take what a response object says of the answer as a whole."""
        if self.response_id is None and isinstance(response.get("id"), str):
            self.response_id = response["id"] or None
        if self.model is None and isinstance(response.get("model"), str):
            self.model = response["model"] or None
        if isinstance(response.get("usage"), dict):
            self.usage = response["usage"]

    def take(self, event: ObjectText) -> Draft | None:
        """The item that an event tells of; None where it tells of none."""
        value = event.value
        item = value.get("item")
        if isinstance(item, dict):
            return self._take_item(event, item)
        draft = self._known(value.get("item_id"), value.get("output_index"))
        if draft is not None and draft.injected is None and isinstance(value.get("name"), str):
            draft.value = {**draft.value, "name": value["name"]}  # `…arguments.done` says it again
            self._decide(draft, whole=False)
        return draft

    def _take_item(self, event: ObjectText, item: Json) -> Draft:
        draft = self._known(item.get("id"), event.value.get("output_index"))
        if draft is None or (event.value.get("type") == "response.output_item.added" and draft.value):
            draft = self._begin(item, event.value.get("output_index"))
        if event.value.get("type") == "response.output_item.done":
            draft.become(event.source("item"), item)
        self._decide(draft, whole=draft.text is not None)
        return draft

    def _begin(self, item: Json, index: Any) -> Draft:
        draft = Draft(item, index)
        draft.injected = None
        self.drafts.append(draft)
        return draft

    def _known(self, item_id: Any, index: Any) -> Draft | None:
        for draft in reversed(self.drafts):
            if item_id and draft.value.get("id"):
                if draft.value["id"] == item_id:
                    return draft
            elif index is not None and draft.index == index:
                return draft
        # Some servers make a new id for every event.
        return next(
            (each for each in reversed(self.drafts) if index is not None and each.index == index), None
        )

    def _decide(self, draft: Draft, *, whole: bool) -> None:
        if draft.injected is None:
            draft.injected = is_injected(draft.value, self._names, whole=whole)

    def finish(self, response: ObjectText) -> None:
        """The turn is over; the items of its last word count where they are as many as came."""
        self.head(response.value)
        self.status = response.value.get("status")
        self._take_error(response.value)
        output = response.value.get("output")
        if isinstance(output, list) and output and len(output) >= len(self.drafts):
            self._take_output(response.source("output"), output)
        for draft in self.drafts:
            self._decide(draft, whole=True)
        self._name_calls()
        if self.status == "incomplete":
            last = self.drafts[-1:]
            self.dropped += [d for d in self.drafts if d.injected and _is_cut_off(d.value, last=d in last)]
            self._forget_dropped()

    def _take_output(self, array: str, output: list[Any]) -> None:
        for at, ((start, end), item) in enumerate(zip(item_spans(array), output, strict=True)):
            if not isinstance(item, dict):
                continue
            draft = self.drafts[at] if at < len(self.drafts) else self._begin(item, at)
            if draft.text is None:
                draft.become(array[start:end], item)

    def _take_error(self, response: Json) -> None:
        if response.get("error"):
            self.fail(response["error"])
        elif self.status == "failed":
            self.fail(None)

    def _name_calls(self) -> None:
        """An id for every injected call: some servers send none, and its result has to name it."""
        for at, draft in enumerate(self.drafts):
            if draft.injected and not draft.value.get("call_id"):
                seed = f"{self.response_id}:{self._number}:{at}"
                value = {**draft.value, "call_id": "call_" + hashlib.sha256(seed.encode()).hexdigest()[:24]}
                draft.become(dumps(value), value)

    def fail(self, error: Any) -> None:
        """Take the upstream's own error."""
        message = error.get("message") if isinstance(error, dict) else error
        self.error = message if isinstance(message, str) else "the upstream sent an error without a message"

    def drop_injected(self) -> None:
        """Nothing comes after this turn: its injected calls are not run."""
        self.dropped += [draft for draft in self.drafts if draft.injected]
        self._forget_dropped()

    def _forget_dropped(self) -> None:
        self.drafts = [draft for draft in self.drafts if draft not in self.dropped]

    @property
    def has_injected(self) -> bool:
        """True where aibridge has to run a call of this turn."""
        return any(draft.injected for draft in self.drafts)

    def calls(self) -> list[Call]:
        """The calls of the turn that somebody has to run, in order."""
        answered = answered_in([draft.value for draft in self.drafts])
        found = (
            _injected_call(d.value) if d.injected else clients_call(d.value, answered) for d in self.drafts
        )
        return [call for call in found if call is not None]

    def turn(self) -> Turn:
        """What was read."""
        return Turn(
            calls=self.calls() if self.status is not None else [],
            finish_reason=self.status,
            response_id=self.response_id,
            model=self.model,
            usage=read_usage(self.usage),
            thought=self._thought(),
            message=lambda: [draft.whole_text for draft in self.drafts],
            text=self.text,
            pieces=self.pieces,
            error=self.error,
        )

    def text(self) -> str:
        """The visible text: that of each message, by lines."""
        return "\n".join(filter(None, (said_in(draft.value) for draft in self.drafts)))

    def _thought(self) -> str | None:
        reasoning = [draft.value for draft in self.drafts if draft.kind == "reasoning"]
        texts = [text_of(each.get("content")) or text_of(each.get("summary")) for each in reasoning]
        return "\n".join(filter(None, texts)) or None


def _injected_call(item: Json) -> Call:
    arguments = item.get("arguments")
    text = arguments if isinstance(arguments, str) else "" if arguments is None else dumps(arguments)
    return Call(item["call_id"], item["name"], text, injected=True)


def _is_cut_off(item: Json, *, last: bool) -> bool:
    """True for a call that may lack some of its arguments; only the last one can lack all of them."""
    cut = item.get("status") == "incomplete" or not arguments_whole(item)
    return cut or (last and not item.get("arguments"))
