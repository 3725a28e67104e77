"""A responses request: what it says, and how it grows by tools and hidden turns.

Only `tools`, `input`, `tool_choice` and `previous_response_id` are ever changed, each in its place in the
text; every other byte goes on as the client sent it. What is read off the request is in `asked`.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Self

from aibridge.dialects.base import Manner, Pointer, Turn, Unit, View, Visible
from aibridge.dialects.bodies import as_text, bad_request, read_request
from aibridge.dialects.naming import Names
from aibridge.dialects.offered import names_of_tools, once_for_tools
from aibridge.dialects.responses.asked import asked_in, conversation_of, names_of, wants_json
from aibridge.dialects.responses.echo import Echo
from aibridge.dialects.responses.hidden import Hidden, outputs_of, texts_of
from aibridge.dialects.responses.items import kind_of, sent_back, unknown_fields
from aibridge.dialects.responses.json_view import JsonView
from aibridge.dialects.responses.recalling import put_back, referred, visible_groups
from aibridge.dialects.responses.relaying import StreamView
from aibridge.nouns import Result, SendBack, Tool
from aibridge.wire.json_text import ObjectText, dumps, extend_array, loads

NO_MODEL = ("prompt",)
"""Fields of which each makes a request without `model` whole: a stored prompt names its own."""


class ResponsesRequest:
    """What the client asked, and the changes that go upstream with it."""

    def __init__(self, source: ObjectText, own: bytes) -> None:
        self._source, self._own = source, own
        self._value = source.value
        self._changes: dict[str, str] = {}
        self._injected: frozenset[str] = frozenset()
        self._hidden = Hidden()
        self.asked = asked_in(source.value)

    def _changed(self, **changes: str) -> Self:
        """A copy with further changes; nothing of this one changes."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._changes = {**self._changes, **changes}
        return other

    @classmethod
    def read(cls, body: bytes) -> Self:
        """The request in `body`. Raises BridgeError (400)."""
        source = read_request(body)
        value = source.value
        if not (as_text(value.get("model")) or (value.get("model") is None and value.get("prompt"))):
            raise bad_request("the body has no `model`; name the model to ask", "model")
        if not isinstance(value.get("input", []), str | list | None):
            raise bad_request("`input` has to be a string or a list of items", "input")
        if "messages" in value and "input" not in value:
            raise bad_request("the body has no `input` (`messages` belongs to /v1/chat/completions)", "input")
        return cls(source, body)

    @property
    def body(self) -> bytes:
        """The body for the upstream; the client's own bytes where nothing had to change."""
        return self._source.replaced(self._changes) if self._changes else self._own

    @property
    def tool_names(self) -> frozenset[str]:
        """Names of the client's own tools, custom ones and those in namespaces included."""
        return frozenset(names_of(self._value.get("tools") or []))

    @property
    def tool_count(self) -> int:
        """How many tools the client brings."""
        return len(self._value.get("tools") or [])

    @property
    def refuses_tools(self) -> str | None:
        """`background`: nobody waits to run them; `prompt`: it has its own, which ours would replace."""
        if self._value.get("background") is True:
            return "background"
        return "prompt" if self._value.get("prompt") else None

    def for_model(self, model: str) -> Self:
        """The request with the upstream's own name of the model; the same where nothing changes."""
        return self if model == self.asked.model else self._changed(model=dumps(model))

    def with_tools(self, tools: Sequence[Tool]) -> Self:
        """The request of round 1: `tools` after the client's own."""
        if not tools:
            return self
        own = self._source.source("tools") if self._value.get("tools") is not None else "[]"
        request = self._changed(tools=extend_array(own, [_tool_texts(tools)]))
        request._injected = names_of_tools(tools)
        return request

    def without_usage(self) -> Self:
        """Usage is in every answer: nobody asks for it."""
        return self

    def sent_back(self) -> frozenset[str]:
        """Names of the fields beyond the standard that turns of this exchange brought back."""
        return frozenset(name for text in self._hidden.items for name in unknown_fields(loads(text)))

    def extended(self, turn: Turn, results: Sequence[Result], send_back: SendBack) -> Self:
        """The request of the next round: the hidden turn's items and their outputs appended.

        A conversation has the items already: to it the outputs alone are sent.
        """
        outputs = [text for _, text in outputs_of(results)]
        items = [*self._sent_back(turn, send_back), *outputs]
        grown = extend_array("[]", outputs) if self._conversation else extend_array(self._input, items)
        changes = {"input": grown}
        if self._forces_hidden():
            changes["tool_choice"] = '"auto"'
        request = self._changed(**changes)
        request._hidden = self._hidden.grown(items, turn)
        return request

    def _sent_back(self, turn: Turn, send_back: SendBack) -> list[str]:
        hidden = frozenset(call.id for call in turn.injected_calls)
        return sent_back(
            turn.message(), hidden, send_back, kept_upstream=self._value.get("store") is not False
        )

    def without_tools(self, tools: Sequence[Tool]) -> Self:
        """The request of a last round: our tools are gone where the client has its own, else not callable."""
        if not self.tool_count:
            return self._changed(tool_choice='"none"')
        request = self._changed(tools=self._source.source("tools"))
        # A list of allowed tools that names one of ours would be refused without it.
        named = (f'"{tool.name}"' for tool in tools)
        choice = dumps(self._value.get("tool_choice"))
        return request._changed(tool_choice='"auto"') if any(name in choice for name in named) else request

    @property
    def history(self) -> bytes:
        """The client's items as it sent them; none where the upstream keeps them."""
        if self._kept_upstream or not isinstance(self._value.get("input"), list):
            return b""
        start, end = self._source.place("input")
        return self._source.data[start:end]

    def visible(self, start: int = 0) -> list[tuple[int, Visible]]:
        """The client's turns that count for recall, with the places of their first items."""
        if self._kept_upstream or not isinstance(self._value.get("input"), list):
            return []
        return [(group.start, group.visible) for group in visible_groups(self._value["input"], start)]

    def with_units(self, units: Mapping[int, Unit], *, standard: frozenset[int]) -> tuple[Self, int]:
        """What was hidden before, put back at the places of the answers; and how many turns that were."""
        if not units:
            return self, 0
        array, turns = put_back(self._input, self._value["input"], units, standard)
        return (self._changed(input=array) if turns else self), turns

    def unit(
        self, last: Turn, results: Sequence[Result], separator: str, send_back: SendBack
    ) -> tuple[Unit, Sequence[Visible]] | None:
        """What this exchange hid, and its answer: by its texts, and by the ids that references name."""
        mixed = bool(last.injected_calls)
        if self._kept_upstream or not (mixed or self._hidden.items):
            return None
        told = () if wants_json(self._value) else self._hidden.told
        unit = Unit(
            hidden=self._hidden.items,
            texts=tuple("\n".join(text for text, _ in turn) for turn in told) or ("",) * self._hidden.turns,
            separator=separator,
            tools=tuple(
                sorted({*self._hidden.called, *(c.name for c in last.injected_calls)} & self._injected)
            ),
            last=extend_array("[]", self._sent_back(last, send_back)) if mixed else None,
            results=tuple(outputs_of(results)) if mixed else (),
        )
        said = [each for turn in (*told, texts_of(last)) for each in turn]
        calls = tuple((call.id, call.name) for call in last.client_calls)
        ways = ("\n".join(text for text, _ in said), "\n".join(referred(item_id) for _, item_id in said))
        return unit, [Visible("assistant", way, calls) for way in dict.fromkeys(ways)]

    @property
    def refers_to(self) -> Sequence[str]:
        """The answer that this one goes on from, and the calls in a conversation that it answers."""
        ids = [previous] if (previous := as_text(self._value.get("previous_response_id"))) else []
        items = self._value.get("input")
        if self._conversation and isinstance(items, list):
            answers = (item for item in items if isinstance(item, dict) and kind_of(item).endswith("_output"))
            ids += [_in_conversation(self._conversation, str(item.get("call_id"))) for item in answers]
        return ids

    def redirected(self, pointers: Mapping[str, Pointer]) -> Self:
        """The request with its references led upstream, and the outputs that are waited for there."""
        changes = {}
        previous = self._value.get("previous_response_id")
        if isinstance(previous, str) and previous in pointers and pointers[previous].target != previous:
            changes["previous_response_id"] = dumps(pointers[previous].target)
        outputs = dict.fromkeys(text for pointer in pointers.values() for text in pointer.outputs)
        if outputs:
            own = self._input.strip()[1:-1].strip()
            changes["input"] = extend_array(extend_array("[]", outputs), [own] if own else [])
        return self._changed(**changes)

    def pointers(self, shown_id: str | None, last: Turn, results: Sequence[Result]) -> Mapping[str, Pointer]:
        """The answer's id where a later request has to go on from another, or bring outputs along."""
        mixed = bool(last.client_calls and last.injected_calls)
        outputs = tuple(text for _, text in outputs_of(results)) if mixed else ()
        if self._conversation:
            ids = (
                [_in_conversation(self._conversation, call.id) for call in last.client_calls] if mixed else []
            )
            return {id_: Pointer("", outputs) for id_ in ids}
        kept = self._value.get("store") is not False and shown_id is not None
        if not kept or not (outputs or last.response_id != shown_id):
            return {}
        return {str(shown_id): Pointer(last.response_id or str(shown_id), outputs)}

    def view(self, tools: Sequence[Tool], manner: Manner) -> View:
        """What the client sees of the injected `tools` and of all rounds."""
        names = Names(names_of_tools(tools), self.tool_names)
        asked = {key: self._source.source(key) for key in ("previous_response_id",) if key in self._changes}
        echo = Echo(names_of_tools(tools), asked, self._brought)
        # Texts of two turns would not be JSON: then hidden turns' texts are not shown.
        kind = StreamView if self.asked.streamed else JsonView
        return kind(names, tools, echo, manner, one_text=wants_json(self._value))

    @property
    def _input(self) -> str:
        """The input as a list."""
        return self._changes["input"] if "input" in self._changes else self._brought()

    def _brought(self) -> str:
        """The client's own input as a list."""
        asked = self._value.get("input")
        if isinstance(asked, str):
            return f'[{{"type":"message","role":"user","content":{self._source.source("input")}}}]'
        return "[]" if asked is None else self._source.source("input")

    @property
    def _conversation(self) -> str | None:
        return conversation_of(self._value)

    @property
    def _kept_upstream(self) -> bool:
        return bool(self._conversation or self._value.get("previous_response_id"))

    def _forces_hidden(self) -> bool:
        """True where `tool_choice` would make the model call tools for ever (2-wire.md, `tool_choice`)."""
        choice = self._value.get("tool_choice")
        if choice == "required":
            return not self.tool_count
        return isinstance(choice, dict) and choice.get("name") in self._injected


def _in_conversation(conversation: str, call_id: str) -> str:
    return f"{conversation} {call_id}"


@once_for_tools
def _tool_texts(tools: Sequence[Tool]) -> str:
    """The tools as they stand in `tools`, without brackets."""
    return ",".join(map(_tool_text, tools))


@lru_cache(maxsize=1024)
def _tool_text(tool: Tool) -> str:
    """The tool as it stands in `tools`: the same bytes every time, so that prompt caches hit.

    Not strict: this API is by default, and would make every optional argument a required one.
    """
    schema = dict(tool.input_schema)
    if schema.get("type", "object") == "object":
        schema.setdefault("type", "object")
        schema.setdefault("properties", {})
    function = {"name": tool.name, "description": tool.description, "parameters": schema, "strict": False}
    return dumps({"type": "function", **function})
