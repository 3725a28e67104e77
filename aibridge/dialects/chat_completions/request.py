"""A chat completions request: what it says, and how it grows by tools and hidden turns.

Only `tools`, `messages`, `tool_choice` and `stream_options` are ever changed, each in its place in the
text; every other byte goes on as the client sent it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

from aibridge.dialects.base import Asked, Manner, Pointer, Turn, Unit, View, Visible
from aibridge.dialects.bodies import as_text, bad_request, read_request
from aibridge.dialects.chat_completions.history import said, unknown_fields
from aibridge.dialects.chat_completions.json_view import JsonView
from aibridge.dialects.chat_completions.recalling import has_answer, put_back, visible_messages
from aibridge.dialects.chat_completions.relaying import StreamView
from aibridge.dialects.naming import Names
from aibridge.dialects.offered import names_of_tools, once_for_tools
from aibridge.nouns import Result, SendBack, Tool
from aibridge.wire.json_text import ObjectText, dumps, extend_array, loads

NONE = frozenset[str]()


class ChatRequest:
    """What the client asked, and the changes that go upstream with it."""

    def __init__(self, source: ObjectText, own: bytes) -> None:
        self._source, self._own = source, own
        self._value = source.value
        self._changes: dict[str, str] = {}
        self._injected: frozenset[str] = frozenset()
        self._hidden = _Hidden()
        self.asked = _asked(source.value)

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
        if not isinstance(value.get("model"), str) or not value["model"]:
            raise bad_request("the body has no `model`; name the model to ask", "model")
        if not isinstance(value.get("messages"), list):
            hint = " (`input` belongs to /v1/responses)" if "input" in value else ""
            raise bad_request(f"the body has no `messages` list{hint}", "messages")
        return cls(source, body)

    @property
    def body(self) -> bytes:
        """The body for the upstream; the client's own bytes where nothing had to change."""
        return self._source.replaced(self._changes) if self._changes else self._own

    @property
    def tool_names(self) -> frozenset[str]:
        """Names of the client's own tools, custom ones included."""
        own = self._value.get("tools")
        return frozenset(filter(None, map(_tool_name, own))) if own else NONE

    @property
    def tool_count(self) -> int:
        """How many tools the client brings."""
        return len(self._value.get("tools") or [])

    @property
    def refuses_tools(self) -> str | None:
        """`n` (several answers) or `functions` (the legacy form): relayed without tools (2-wire.md)."""
        if self._value.get("n") not in (None, 1):
            return "n"
        return "functions" if self._value.get("functions") else None

    def for_model(self, model: str) -> Self:
        """The request with the upstream's own name of the model; the same where nothing changes."""
        return self if model == self.asked.model else self._changed(model=dumps(model))

    def with_tools(self, tools: Sequence[Tool]) -> Self:
        """The request of round 1: `tools` after the client's own, usage asked for."""
        changes = {}
        if tools:
            own = self._source.source("tools") if self._value.get("tools") is not None else "[]"
            changes["tools"] = extend_array(own, [_tool_texts(tools)])
        if self.asked.streamed and not _wants_usage(self._value):
            options = self._value.get("stream_options")
            options = options if isinstance(options, dict) else {}
            changes["stream_options"] = dumps({**options, "include_usage": True})
        if not changes:
            return self
        request = self._changed(**changes)
        request._injected = names_of_tools(tools)
        return request

    def without_usage(self) -> Self:
        """The request without the question for usage that we added; the same where there is none."""
        if "stream_options" not in self._changes:
            return self
        request = self._changed()
        del request._changes["stream_options"]
        return request

    def sent_back(self) -> frozenset[str]:
        """Names of the fields beyond the standard that turns of this exchange brought back."""
        return frozenset(name for text in self._hidden.messages for name in unknown_fields(loads(text)))

    def extended(self, turn: Turn, results: Sequence[Result], send_back: SendBack) -> Self:
        """The request of the next round: the hidden turn and its results appended."""
        messages = [said(turn.message(), send_back), *(text for _, text in _result_texts(results))]
        changes = {"messages": extend_array(self._messages, messages)}
        if self._forces_hidden():
            changes["tool_choice"] = '"auto"'
        request = self._changed(**changes)
        request._hidden = self._hidden.grown(messages, turn)
        return request

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
        """The client's messages as it sent them; nothing where no answer is among them."""
        if not has_answer(self._value["messages"]):
            return b""
        start, end = self._source.place("messages")
        return self._source.data[start:end]

    def visible(self, start: int = 0) -> list[tuple[int, Visible]]:
        """The client's messages that count for recall, with their places."""
        return visible_messages(self._value["messages"], start)

    def with_units(self, units: Mapping[int, Unit], *, standard: frozenset[int]) -> tuple[Self, int]:
        """What was hidden before, put back at the places of the answers; and how many turns that were."""
        if not units:
            return self, 0
        messages, turns = put_back(self._messages, self._value["messages"], units, standard)
        return (self._changed(messages=messages) if turns else self), turns

    def unit(
        self, last: Turn, results: Sequence[Result], separator: str, send_back: SendBack
    ) -> tuple[Unit, Sequence[Visible]] | None:
        """What this exchange hid, and its answer as the client sees it; None where it hid nothing."""
        mixed = bool(last.injected_calls)
        if not (mixed or self._hidden.messages):
            return None
        one_text = _wants_json(self._value)
        texts = ("",) * len(self._hidden.texts) if one_text else self._hidden.texts
        called = {*self._hidden.called, *(call.name for call in last.injected_calls)}
        unit = Unit(
            hidden=self._hidden.messages,
            texts=texts,
            separator=separator,
            tools=tuple(sorted(called & self._injected)),
            last=said(last.message(), send_back) if mixed else None,
            results=tuple(_result_texts(results)) if mixed else (),
        )
        text = separator.join(filter(None, (*texts, last.text())))
        calls = tuple((call.id, call.name) for call in last.client_calls)
        return unit, [Visible("assistant", text.strip(), calls)]

    @property
    def refers_to(self) -> Sequence[str]:
        """Nothing: a request brings the whole conversation."""
        return ()

    def redirected(self, pointers: Mapping[str, Pointer]) -> Self:
        """The same."""
        return self

    def pointers(self, shown_id: str | None, last: Turn, results: Sequence[Result]) -> Mapping[str, Pointer]:
        """None."""
        return {}

    @property
    def _messages(self) -> str:
        return self._changes.get("messages") or self._source.source("messages")

    def view(self, tools: Sequence[Tool], manner: Manner) -> View:
        """What the client sees, with `tools` hidden."""
        separator, usage = manner.separator, manner.usage
        names = Names(names_of_tools(tools), self.tool_names)
        # Joined texts of two turns would not be JSON: then hidden turns' texts are not shown.
        one_text = _wants_json(self._value)
        if not self.asked.streamed:
            return JsonView(names, separator, usage, one_text=one_text)
        return StreamView(names, separator, usage if _wants_usage(self._value) else None, one_text=one_text)

    def _forces_hidden(self) -> bool:
        """True where `tool_choice` would make the model call tools for ever (2-wire.md, `tool_choice`)."""
        choice = self._value.get("tool_choice")
        if choice == "required":
            return not self.tool_count
        named = choice.get("function") if isinstance(choice, dict) else None
        return isinstance(named, dict) and named.get("name") in self._injected


@dataclass(frozen=True, slots=True)
class _Hidden:
    """What the rounds of this exchange appended."""

    messages: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    called: frozenset[str] = frozenset()

    def grown(self, messages: Sequence[str], turn: Turn) -> "_Hidden":
        called = self.called | {call.name for call in turn.injected_calls}
        return _Hidden((*self.messages, *messages), (*self.texts, turn.text()), called)


def _result_texts(results: Sequence[Result]) -> list[tuple[str, str]]:
    """The results as messages, by call id."""
    messages = [{"role": "tool", "tool_call_id": each.call_id, "content": each.text} for each in results]
    return [(each["tool_call_id"], dumps(each)) for each in messages]


@once_for_tools
def _tool_texts(tools: Sequence[Tool]) -> str:
    """The tools as they stand in `tools`, without brackets."""
    return ",".join(map(_tool_text, tools))


@lru_cache(maxsize=1024)
def _tool_text(tool: Tool) -> str:
    """The tool as it stands in `tools`: the same bytes every time, so that prompt caches hit."""
    schema = dict(tool.input_schema)
    if schema.get("type", "object") == "object":
        schema.setdefault("type", "object")
        schema.setdefault("properties", {})
    function = {"name": tool.name, "description": tool.description, "parameters": schema}
    return dumps({"type": "function", "function": function})


def _tool_name(tool: Any) -> str | None:
    for form in ("function", "custom"):
        if isinstance(tool, dict) and isinstance(tool.get(form), dict):
            return as_text(tool[form].get("name"))
    return None


def _wants_usage(value: Mapping[str, Any]) -> bool:
    options = value.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def _wants_json(value: Mapping[str, Any]) -> bool:
    wanted = value.get("response_format")
    return isinstance(wanted, dict) and wanted.get("type") in ("json_object", "json_schema")


def _asked(value: Mapping[str, Any]) -> Asked:
    messages = value["messages"]
    last = messages[-1] if messages and isinstance(messages[-1], dict) else {}
    metadata = value.get("metadata")
    return Asked(
        model=value["model"],
        streamed=value.get("stream") is True,
        prompt=_last_text(last.get("content")) if last.get("role") == "user" else None,
        user=as_text(value.get("safety_identifier")) or as_text(value.get("user")),
        session_id=as_text(value.get("prompt_cache_key")),
        answers_call_id=as_text(last.get("tool_call_id")) if last.get("role") == "tool" else None,
        metadata=metadata if isinstance(metadata, dict) else None,
    )


def _last_text(content: Any) -> str | None:
    """A message's last text part."""
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, dict) and part.get("type") == "text"]
        content = parts[-1].get("text") if parts else None
    return as_text(content)
