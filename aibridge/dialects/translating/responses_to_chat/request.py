"""A Responses request as a chat request."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aibridge.dialects.chat_completions.history import unknown_fields
from aibridge.dialects.translating.base import Asked
from aibridge.dialects.translating.responses_to_chat.fields import HINTS, plain_fields
from aibridge.dialects.translating.responses_to_chat.messages import Messages
from aibridge.dialects.translating.responses_to_chat.refusing import cannot, wrong
from aibridge.dialects.translating.responses_to_chat.tools import Tools
from aibridge.nouns import SendBack

LOGPROBS = "message.output_text.logprobs"
OF_BUILT_INS = (
    "code_interpreter_call.",
    "computer_call_output.",
    "file_search_call.",
    "web_search_call.",
    "message.input_image.",
)
"""What `include` asks of items that never come."""
OPTIONAL = HINTS | {"stream_options", "verbosity"}
ENCRYPTED = "reasoning.encrypted_content"


@dataclass(frozen=True, slots=True)
class ChatAsked(Asked):
    """The translated request, and what its answer has to know of it."""

    tools: Tools = field(default_factory=Tools)
    call_ids: frozenset[str] = frozenset()
    """Ids of the calls before it: some providers give the same ones in every turn."""


def translated(
    value: Mapping[str, Any], before: Sequence[Mapping[str, Any]], send_back: SendBack
) -> ChatAsked:
    """Raises BridgeError (400) that names what cannot be translated."""
    body, left_out = plain_fields(value)
    tools = Tools.read(value.get("tools"))
    items = _items(value.get("input"))
    messages = Messages(tools, [*before, *items], send_back)
    if value.get("instructions"):
        messages.say("system", value["instructions"])
    for item in (*before, *items):
        messages.add(item)
    body["messages"] = messages.all()
    chosen = tools.chosen(value.get("tool_choice"))
    body |= chosen
    if chosen and value.get("parallel_tool_calls") is not None:
        body["parallel_tool_calls"] = value["parallel_tool_calls"]
    body |= dict(_said_otherwise(value))
    if value.get("stream") is True:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    told = dict.fromkeys([*left_out, *tools.left_out, *messages.left_out])
    sent_back = (name for each in body["messages"] for name in unknown_fields(each))
    return ChatAsked(
        body=body,
        left_out=tuple(told),
        keeps=value.get("store") is not False,
        optional=OPTIONAL & body.keys() | frozenset(sent_back),
        own_input=tuple(items),
        tools=tools,
        call_ids=messages.call_ids,
    )


def _items(given: Any) -> list[Mapping[str, Any]]:
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": given}]
    if not isinstance(given, list | None):
        raise wrong("`input` has to be a string or a list of items", "input")
    return given or []


def _said_otherwise(value: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    # `max_completion_tokens` is OpenAI's own name; servers that have chat completions alone know this one.
    if value.get("max_output_tokens") is not None:
        yield "max_tokens", value["max_output_tokens"]
    yield from _text(value.get("text") or {})
    reasoning = value.get("reasoning") or {}
    if reasoning.get("effort") is not None:
        yield "reasoning_effort", reasoning["effort"]
    wants_logprobs = LOGPROBS in _included(value.get("include") or ())
    if wants_logprobs or value.get("top_logprobs"):
        yield "logprobs", True
    if value.get("top_logprobs") is not None:
        yield "top_logprobs", value["top_logprobs"]


def _included(include: Sequence[Any]) -> Sequence[Any]:
    for each in include:
        known = isinstance(each, str) and (each in (LOGPROBS, ENCRYPTED) or each.startswith(OF_BUILT_INS))
        if not known:
            raise cannot(f"`{each}` in `include`", "include")
    return include


def _text(text: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    if text.get("verbosity") is not None:
        yield "verbosity", text["verbosity"]
    form = text.get("format") or {}
    kind = form.get("type", "text")
    if kind == "json_schema":
        schema = {key: each for key, each in form.items() if key != "type" and each is not None}
        yield "response_format", {"type": kind, kind: schema}
    elif kind == "json_object":
        yield "response_format", {"type": kind}
    elif kind != "text":
        raise cannot(f"the `text.format` `{kind}`", "text")
