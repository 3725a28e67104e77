"""The output items of an answer as they grow, each with its events: added, deltas, done."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aibridge.dialects.chat_completions.calls import Draft
from aibridge.dialects.translating.responses_to_chat import thoughts
from aibridge.dialects.translating.responses_to_chat.tools import INPUT, Origin
from aibridge.wire.json_text import loads

Emit = Callable[..., None]
"""Takes an event's type and its fields."""
Json = dict[str, Any]


class Item(ABC):
    """What items have in common."""

    status = "in_progress"

    def __init__(self, emit: Emit, item_id: str, index: int) -> None:
        self.id, self._index = item_id, index
        self._emit = emit

    @abstractmethod
    def value(self) -> Json:
        """The item as it is now."""

    def begins(self) -> None:
        """It is there."""
        self._emit("response.output_item.added", output_index=self._index, item=self.value())

    def ends(self, status: str) -> None:
        """Nothing is added to it any more."""
        if self.status == "in_progress":
            self._close()
            self.status = status
            self._emit("response.output_item.done", output_index=self._index, item=self.value())

    @abstractmethod
    def _close(self) -> None:
        """What comes before its end."""

    def _tell(self, kind: str, **fields: Any) -> None:
        self._emit(kind, item_id=self.id, output_index=self._index, **fields)


class Message(Item):
    """Text, and refusals, for the reader."""

    def __init__(self, emit: Emit, item_id: str, index: int) -> None:
        super().__init__(emit, item_id, index)
        self._parts: list[Json] = []
        self._pieces: list[str] = []

    def value(self) -> Json:
        """The item."""
        whole = {"id": self.id, "type": "message", "status": self.status, "role": "assistant"}
        return {**whole, "content": [dict(part) for part in self._parts]}

    def says(self, text: str, logprobs: Sequence[Json]) -> None:
        """A piece of its text."""
        part = self._part("output_text")
        self._pieces.append(text)
        part["logprobs"] = [*part["logprobs"], *logprobs] if logprobs else part["logprobs"]
        self._tell("response.output_text.delta", content_index=self._at, delta=text, logprobs=list(logprobs))

    def refuses(self, text: str) -> None:
        """A piece of its refusal."""
        self._part("refusal")
        self._pieces.append(text)
        self._tell("response.refusal.delta", content_index=self._at, delta=text)

    def annotates(self, annotation: Any) -> None:
        """A note to its text: where it is from."""
        if not isinstance(annotation, dict):
            return
        kind = annotation.get("type")
        inner = annotation.get(kind) if isinstance(kind, str) else None
        flat = {"type": kind, **inner} if isinstance(inner, dict) else annotation
        part = self._part("output_text")
        number = len(part["annotations"])
        part["annotations"].append(flat)
        told = {"content_index": self._at, "annotation_index": number, "annotation": flat}
        self._tell("response.output_text.annotation.added", **told)

    @property
    def _at(self) -> int:
        return len(self._parts) - 1

    def _part(self, kind: str) -> Json:
        if self._parts and self._parts[-1]["type"] == kind:
            return self._parts[-1]
        self._close()
        text = {"text": "", "annotations": [], "logprobs": []}
        self._parts.append({"type": kind, **(text if kind == "output_text" else {"refusal": ""})})
        self._tell("response.content_part.added", content_index=self._at, part=dict(self._parts[-1]))
        return self._parts[-1]

    def _close(self) -> None:
        if not self._parts:
            return
        part, said = self._parts[-1], "".join(self._pieces)
        self._pieces = []
        if part["type"] == "output_text":
            part["text"] = said
            told = {"text": said, "logprobs": part["logprobs"]}
            self._tell("response.output_text.done", content_index=self._at, **told)
        else:
            part["refusal"] = said
            self._tell("response.refusal.done", content_index=self._at, refusal=said)
        self._tell("response.content_part.done", content_index=self._at, part=dict(part))


class Reasoning(Item):
    """What the model thought; as a summary where one was asked for, since many clients show only that."""

    def __init__(self, emit: Emit, item_id: str, index: int, name: str, *, summary: bool) -> None:
        super().__init__(emit, item_id, index)
        self._name, self._summary = name, summary
        self._pieces: list[str] = []
        self._begun = False
        self._text = ""
        self.fields: Json = {}
        self.calls: dict[str, Json] = {}

    def value(self) -> Json:
        """The item; what goes back upstream is sealed in it, asked for or not: rounds need it too."""
        item: Json = {"id": self.id, "type": "reasoning", "summary": []}
        if self._begun and self._summary:
            item["summary"] = [{"type": "summary_text", "text": self._text}]
        elif self._begun:
            item["content"] = [{"type": "reasoning_text", "text": self._text}]
        if self.status != "in_progress":
            item["encrypted_content"] = thoughts.sealed(self.fields, self.calls)
        return {**item, "status": self.status}

    def thinks(self, text: str) -> None:
        """A piece of it."""
        if not self._begun and self._summary:
            part = {"type": "summary_text", "text": ""}
            self._tell("response.reasoning_summary_part.added", summary_index=0, part=part)
        elif not self._begun:
            part = {"type": "reasoning_text", "text": ""}
            self._tell("response.content_part.added", content_index=0, part=part)
        self._begun = True
        self._pieces.append(text)
        self._tell(f"{self._event}.delta", **self._place, delta=text)

    @property
    def _event(self) -> str:
        return "response.reasoning_summary_text" if self._summary else "response.reasoning_text"

    @property
    def _place(self) -> Json:
        return {"summary_index" if self._summary else "content_index": 0}

    def _close(self) -> None:
        if not self._begun:
            return
        self._text = "".join(self._pieces)
        if self._name == "content":  # Mistral's thinking is a part of the content
            thought = [{"type": "text", "text": self._text}]
            self.fields = {"content": [{"type": "thinking", "thinking": thought}]}
        else:
            self.fields = {self._name: self._text}
        self._tell(f"{self._event}.done", **self._place, text=self._text)
        kind = "summary_text" if self._summary else "reasoning_text"
        event = "response.reasoning_summary_part.done" if self._summary else "response.content_part.done"
        self._tell(event, **self._place, part={"type": kind, "text": self._text})


class FunctionCall(Item):
    """A call of a function."""

    def __init__(
        self, emit: Emit, item_id: str, index: int, draft: Draft, call_id: str, origin: Origin
    ) -> None:
        super().__init__(emit, item_id, index)
        self.draft, self.call_id = draft, call_id
        self._origin = origin

    def value(self) -> Json:
        """The item."""
        space = {"namespace": self._origin.namespace} if self._origin.namespace else {}
        arguments = self.draft.arguments if self.status != "in_progress" else ""
        whole = {"id": self.id, "type": "function_call", "status": self.status, "call_id": self.call_id}
        return {**whole, **space, "name": self._origin.name, "arguments": arguments}

    def adds(self, text: str) -> None:
        """A piece of its arguments."""
        if text:
            self._tell("response.function_call_arguments.delta", delta=text)

    def _close(self) -> None:
        told = {"name": self._origin.name, "arguments": self.draft.arguments}
        self._tell("response.function_call_arguments.done", **told)


class CustomCall(FunctionCall):
    """A call of a custom tool, whose input comes at once: it has to be read out of the arguments."""

    def value(self) -> Json:
        """The item."""
        space = {"namespace": self._origin.namespace} if self._origin.namespace else {}
        said = self._input if self.status != "in_progress" else ""
        whole = {"id": self.id, "type": "custom_tool_call", "status": self.status, "call_id": self.call_id}
        return {**whole, **space, "name": self._origin.name, "input": said}

    def adds(self, text: str) -> None:
        """A piece of the arguments, which are not the input yet."""

    def _close(self) -> None:
        self._tell("response.custom_tool_call_input.delta", delta=self._input)
        self._tell("response.custom_tool_call_input.done", input=self._input)

    @property
    def _input(self) -> str:
        """Arguments that are not as asked are the input themselves."""
        told = self.draft.arguments
        try:
            found = None if self.draft.custom else loads(told)
        except ValueError:
            found = None
        said = found.get(INPUT) if isinstance(found, dict) else None
        return said if isinstance(said, str) else told


def logprobs_of(choice: Mapping[str, Any]) -> list[Json]:
    """The log probabilities of a choice's text."""
    told = choice.get("logprobs")
    found = told.get("content") if isinstance(told, dict) else None
    return [_logprob(each) for each in found or () if isinstance(each, dict)]


def _logprob(each: Json) -> Json:
    top = each.get("top_logprobs")
    named: Json = {key: each[key] for key in ("token", "bytes", "logprob") if key in each}
    return {**named, "top_logprobs": [_logprob(t) for t in top] if isinstance(top, list) else []}
