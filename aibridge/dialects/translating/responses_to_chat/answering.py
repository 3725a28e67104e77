"""What a chat upstream says, piece by piece, as items and events of the Responses API.

Reading the pieces as providers really send them is left to `chat_completions.reading`.
"""

import secrets
import time
from collections.abc import Iterator, Mapping
from typing import Any

from aibridge.dialects.chat_completions.calls import Draft
from aibridge.dialects.chat_completions.reading import CUT_SHORT, REASONING, Reader, calls_in, first_choice
from aibridge.dialects.naming import Names
from aibridge.dialects.translating.base import KEPT
from aibridge.dialects.translating.responses_to_chat import response as responses
from aibridge.dialects.translating.responses_to_chat.items import (
    CustomCall,
    FunctionCall,
    Item,
    Message,
    Reasoning,
    logprobs_of,
)
from aibridge.dialects.translating.responses_to_chat.request import ChatAsked
from aibridge.wire.json_text import dumps
from aibridge.wire.sse import encode

Json = dict[str, Any]
UNDERSTOOD = frozenset({"role", "content", "tool_calls", "refusal", "annotations", "audio", *REASONING})


class Answering:
    """One answer; its events wait in `events` until they are taken."""

    def __init__(self, value: Mapping[str, Any], asked: ChatAsked) -> None:
        self._value, self._asked = value, asked
        self._tools = asked.tools
        self._reader = Reader(Names(frozenset(), self._tools.names), 1, keep_message=True)
        self._summary = bool((value.get("reasoning") or {}).get("summary"))
        self._response: Json = {}
        self._items: list[Item] = []
        self._message: Message | None = None
        self._reasoning: Reasoning | None = None
        self._calls: dict[Draft, FunctionCall] = {}
        self._number = 0
        self._untaken: list[bytes] = []
        self.finished = self.failed = False
        self.final: Json = {}
        self.whole = False

    def events(self) -> bytes:
        """The events since they were taken last."""
        untaken, self._untaken = self._untaken, []
        return b"".join(untaken)

    @property
    def begun(self) -> bool:
        """True once anything came."""
        return bool(self._response)

    def chunk(self, chunk: Json) -> None:
        """A chunk of a stream, or a body whose message is taken as one delta."""
        self._reader.head(chunk)
        self._begin(chunk)
        choice = first_choice(chunk)
        if choice is None:
            return
        said = choice.get("delta") if "delta" in choice else choice.get("message")
        delta = said if isinstance(said, dict) else {}
        self._reader.delta(delta, len(str(delta.get("content") or "")) + 100)
        self._hear(delta, logprobs_of(choice))
        reason = choice.get("finish_reason")
        if reason:
            self.finished = True
            self._reader.finish(reason)

    def fails(self, error: Any) -> None:
        """The upstream's own error."""
        self._begin({})
        self._end_items("incomplete")
        told, output = responses.error_of(error), [item.value() for item in self._items]
        self.failed = True
        self.final = responses.failed(self._response, output, told, self._reader.usage)
        self._emit("response.failed", response=self.final)

    def ends(self) -> None:
        """Nothing more will come."""
        self._begin({})
        if not self.finished:
            self._reader.finish(None)
        reason = self._reader.finish_reason
        self._end_calls()
        self._remember_rest()
        cut = reason in CUT_SHORT
        self._end_items("incomplete" if cut else "completed")
        output = [item.value() for item in self._items]
        self.final = responses.ended(self._response, output, reason, self._reader.usage)
        self.whole = True
        kind = "response.incomplete" if self.final["status"] == "incomplete" else "response.completed"
        self._emit(kind, response=self.final)

    def _begin(self, chunk: Json) -> None:
        if self._response:
            return
        created = chunk.get("created")
        when = created if isinstance(created, int) and created > 0 else int(time.time())
        model = self._reader.model or self._value.get("model") or ""
        self._response = responses.begun(self._value, KEPT + secrets.token_hex(16), when, model)
        self._emit("response.created", response=self._response)
        self._emit("response.in_progress", response=self._response)

    def _hear(self, delta: Json, logprobs: list[Json]) -> None:
        for name, text in _thoughts(delta):
            self._thinking(name).thinks(text)
        for text in _texts(delta.get("content")):
            self._saying().says(text, logprobs)
            logprobs = []
        if isinstance(delta.get("refusal"), str) and delta["refusal"]:
            self._saying().refuses(delta["refusal"])
        annotations = delta.get("annotations")
        for annotation in annotations if isinstance(annotations, list) else ():
            self._saying().annotates(annotation)
        for draft, piece in self._reader.calls.take(calls_in(delta)):
            self._call(draft, piece)

    def _thinking(self, name: str) -> Reasoning:
        if self._reasoning is None:
            self._reasoning = self._reasoning_item(name)
            self._reasoning.begins()
        return self._reasoning

    def _reasoning_item(self, name: str) -> Reasoning:
        item = Reasoning(self._emit, _new("rs"), len(self._items), name, summary=self._summary)
        self._items.append(item)
        return item

    def _saying(self) -> Message:
        self._end_reasoning()
        if self._message is None:
            self._message = Message(self._emit, _new("msg"), len(self._items))
            self._items.append(self._message)
            self._message.begins()
        return self._message

    def _call(self, draft: Draft, piece: Json) -> None:
        """A piece of a call; the item begins with the arguments, because until then the name may grow."""
        known = self._calls.get(draft)
        if known is not None:
            function = piece.get("function")
            text = function.get("arguments") if isinstance(function, dict) else None
            known.adds(text if isinstance(text, str) else dumps(text) if text else "")
        elif draft.arguments:
            self._begin_calls(until=draft)

    def _begin_calls(self, until: Draft | None = None) -> None:
        """Calls in the model's order, also where a later one has its arguments first."""
        for draft in self._reader.calls.drafts:
            if draft not in self._calls:
                self._begin_call(draft)
            if draft is until:
                break

    def _begin_call(self, draft: Draft) -> None:
        self._end_reasoning()
        if self._message is not None:
            self._message.ends("completed")
            self._message = None
        origin = self._tools.origin(draft.name)
        custom = origin.custom or draft.custom
        kind, prefix = (CustomCall, "ctc") if custom else (FunctionCall, "fc")
        taken = {*self._asked.call_ids, *(call.call_id for call in self._calls.values())}
        call_id = draft.id if draft.id and draft.id not in taken else _new("call")
        item = kind(self._emit, _new(prefix), len(self._items), draft, call_id, origin)
        self._calls[draft] = item
        self._items.append(item)
        item.begins()
        item.adds(draft.arguments)

    def _end_reasoning(self) -> None:
        if self._reasoning is not None:
            self._reasoning.ends("completed")
            self._reasoning = None

    def _end_calls(self) -> None:
        """Calls that had no arguments begin at last; all are whole unless the answer was cut short."""
        drafts = self._reader.calls.drafts
        self._begin_calls()
        cut = self._reader.finish_reason in CUT_SHORT
        for draft, call in self._calls.items():
            whole = not cut or draft is not drafts[-1] or (draft.arguments_whole and bool(draft.arguments))
            call.ends("completed" if whole else "incomplete")

    def _end_items(self, status: str) -> None:
        for item in self._items:
            item.ends(status)

    def _remember_rest(self) -> None:
        """What else the upstream wants back, on a reasoning item of its own: it may have come last."""
        message = self._reader.message()
        fields = {key: value for key, value in message.items() if key not in UNDERSTOOD}
        calls = {}
        for draft, call in self._calls.items():
            rest = _unknown(draft.message())
            if rest and not draft.custom:
                calls[call.call_id] = rest
        if fields or calls:
            self._end_reasoning()
            item = self._reasoning_item("")
            item.fields, item.calls = fields, calls
            item.begins()

    def _emit(self, kind: str, **fields: Any) -> None:
        event = {"type": kind, "sequence_number": self._number, **fields}
        self._number += 1
        self._untaken.append(encode(dumps(event).encode(), kind.encode()))


def _thoughts(delta: Json) -> Iterator[tuple[str, str]]:
    """Reasoning text, and the field that it came in; some providers send the same in two."""
    for name in REASONING:
        if isinstance(text := delta.get(name), str) and text:
            yield name, text
            break
    content = delta.get("content")
    for part in content if isinstance(content, list) else ():
        if isinstance(part, dict) and part.get("type") == "thinking":
            for text in _texts(part.get("thinking")):
                yield "content", text


def _texts(content: Any) -> Iterator[str]:
    """The texts in a content, string or parts."""
    if isinstance(content, str) and content:
        yield content
    for part in content if isinstance(content, list) else ():
        text = part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None
        if isinstance(text, str) and text:
            yield text


def _unknown(call: Json) -> Json:
    """The fields of a call that the standard does not have."""
    rest = {key: value for key, value in call.items() if key not in ("id", "type", "function", "custom")}
    function = call.get("function")
    inner = (
        {k: v for k, v in function.items() if k not in ("name", "arguments")}
        if isinstance(function, dict)
        else {}
    )
    return {**rest, **({"function": inner} if inner else {})}


def _new(kind: str) -> str:
    return f"{kind}_{secrets.token_hex(16)}"
