"""The wire shapes of `/v1/responses`, as OpenAI sends them: responses and their events.

Pure. What is asked is put into the form of chat completions, in which `judging` and `replying` decide what
is refused and what the model says.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aibridge.demo.judging import Objection
from aibridge.demo.replying import Json, Reply, text_of

_EPOCH = 1_700_000_000
_ARGUMENT_PIECES = 3


def input_items(body: Json) -> list[Json]:
    """What the request says, as items."""
    asked = body.get("input")
    if isinstance(asked, str):
        return [{"type": "message", "role": "user", "content": asked}]
    return list(asked or ())


def as_chat(body: Json, items: Sequence[Json]) -> Json:
    """The request in the form of chat completions, with `items` as the whole conversation."""
    messages: list[Json] = []
    if isinstance(body.get("instructions"), str):
        messages.append({"role": "developer", "content": body["instructions"]})
    for item in items:
        _append(messages, item)
    chat: Json = {"model": body.get("model"), "messages": messages}
    tools = [tool for each in body.get("tools") or () if (tool := _chat_tool(each))]
    if tools:
        chat["tools"] = tools
        if body.get("tool_choice") is not None:
            chat["tool_choice"] = _chat_choice(body["tool_choice"])
    form = (body.get("text") or {}).get("format") or {}
    return {**chat, "response_format": form} if form.get("type", "text") != "text" else chat


def _append(messages: list[Json], item: Json) -> None:
    kind = item.get("type") or "message"
    if kind.endswith("_call_output"):
        output = item.get("output")
        content = output if isinstance(output, str) else text_of(output)
        messages.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": content})
    elif kind == "message" and item.get("role") != "assistant":
        messages.append({"role": item.get("role"), "content": text_of(item.get("content"))})
    elif kind in ("message", "function_call", "custom_tool_call"):
        if not messages or messages[-1]["role"] != "assistant":
            messages.append({"role": "assistant", "content": ""})
        _join(messages[-1], item)


def _join(message: Json, item: Json) -> None:
    """An item of the assistant's turn as part of its one message."""
    if item.get("type") == "function_call":
        function = {"name": item.get("name"), "arguments": item.get("arguments")}
        call = {"id": item.get("call_id"), "type": "function", "function": function}
        message.setdefault("tool_calls", []).append(call)
    elif item.get("type") == "custom_tool_call":
        custom = {"name": item.get("name"), "input": item.get("input")}
        call = {"id": item.get("call_id"), "type": "custom", "custom": custom}
        message.setdefault("tool_calls", []).append(call)
    else:
        message["content"] += text_of(item.get("content"))


def _chat_tool(tool: Any) -> Json | None:
    """A function or custom tool; the built-in ones are nothing to the model that is scripted."""
    if not isinstance(tool, dict) or tool.get("type") not in ("function", "custom"):
        return None
    return {"type": tool["type"], tool["type"]: {k: v for k, v in tool.items() if k != "type"}}


def _chat_choice(choice: Any) -> Any:
    if isinstance(choice, dict) and choice.get("type") == "function":
        return {"type": "function", "function": {"name": choice.get("name")}}
    return choice


def objection_to_items(body: Json, items: Sequence[Json]) -> Objection | None:
    """What only this API refuses."""
    for at, item in enumerate(items):
        where = f"input[{at}]"
        if not isinstance(item, dict) or not (item.get("type") or item.get("role")):
            return Objection(f"Invalid type for '{where}'.", where, "invalid_type")
        bare = item.get("type") == "reasoning" and not item.get("encrypted_content")
        if bare and body.get("store") is False:
            told = "Items are not persisted when `store` is set to false."
            return Objection(f"Item with id '{item.get('id')}' not found. {told}", "input")
    return None


def response(body: Json, reply: Reply, status: str = "completed", **over: Any) -> Json:
    """The response object."""
    shown = ("instructions", "max_output_tokens", "metadata", "previous_response_id", "prompt_cache_key")
    return {
        "id": f"resp_{reply.digest[:40]}",
        "object": "response",
        "created_at": _EPOCH + reply.round,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "model": body["model"],
        "output": [],
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "store": body.get("store", True),
        "temperature": 1.0,
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools") or [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None,
        **{key: body.get(key) for key in shown},
        **over,
    }


def completion(body: Json, reply: Reply, asked: Sequence[Json]) -> Json:
    """The whole answer, not streamed."""
    return response(body, reply, output=output_items(body, reply), usage=usage(asked, body, reply))


def output_items(body: Json, reply: Reply) -> list[Json]:
    """What the model says, as items."""
    items: list[Json] = []
    mark = reply.digest[:24]
    if reply.reasoning:
        summary = {"type": "summary_text", "text": "".join(reply.reasoning)}
        thought: Json = {"id": f"rs_{mark}", "type": "reasoning", "summary": [summary]}
        if "reasoning.encrypted_content" in (body.get("include") or ()):
            thought["encrypted_content"] = f"secret-{mark}"
        items.append(thought)
    if reply.text or not reply.calls:
        items.append(_message(f"msg_{mark}", reply.text))
    for at, call in enumerate(reply.calls):
        fields = {"arguments": call.arguments, "call_id": call.id, "name": call.name}
        items.append({"id": f"fc_{mark}{at:02}", "type": "function_call", "status": "completed", **fields})
    return items


def _message(item_id: str, text: str) -> Json:
    part = {"type": "output_text", "annotations": [], "logprobs": [], "text": text}
    return {"id": item_id, "type": "message", "status": "completed", "content": [part], "role": "assistant"}


def usage(asked: Sequence[Json], body: Json, reply: Reply) -> Json:
    """Tokens, estimated as characters through four."""
    given = tokens([list(asked), body.get("tools")])
    reasoned = _tokens("".join(reply.reasoning))
    said = _tokens(reply.text + "".join(call.name + call.arguments for call in reply.calls)) + reasoned
    return {
        "input_tokens": given,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": said,
        "output_tokens_details": {"reasoning_tokens": reasoned},
        "total_tokens": given + said,
    }


def events(body: Json, reply: Reply, asked: Sequence[Json]) -> list[Json]:
    """The answer as numbered events."""
    numbered = enumerate(_events(body, reply, asked))
    return [{"type": kind, "sequence_number": number, **fields} for number, (kind, fields) in numbered]


def failed(body: Json, reply: Reply, number: int) -> Json:
    """The event of an answer that failed on its way."""
    error = {"code": "server_error", "message": "The server had an error. (scripted 500)"}
    told = response(body, reply, "failed", error=error)
    return {"type": "response.failed", "sequence_number": number, "response": told}


def _events(body: Json, reply: Reply, asked: Sequence[Json]) -> Iterator[tuple[str, Json]]:
    begun = response(body, reply, "in_progress")
    yield "response.created", {"response": begun}
    yield "response.in_progress", {"response": begun}
    for at, item in enumerate(output_items(body, reply)):
        empty = {key: value for key, value in item.items() if key != "encrypted_content"}
        for key, nothing in (("summary", []), ("content", []), ("arguments", "")):
            if key in item:
                empty[key] = nothing
        yield "response.output_item.added", {"output_index": at, "item": {**empty, "status": "in_progress"}}
        place = {"item_id": item["id"], "output_index": at}
        if item["type"] == "message":
            yield from _text(place, item["content"][0], reply.pieces, "content", "output_text")
        elif item["type"] == "reasoning":
            yield from _text(place, item["summary"][0], reply.reasoning, "reasoning_summary", None)
        else:
            yield from _arguments(place, item["arguments"])
        yield "response.output_item.done", {"output_index": at, "item": item}
    yield "response.completed", {"response": completion(body, reply, asked)}


def _text(
    place: Json, part: Json, pieces: Sequence[str], of_part: str, of_text: str | None
) -> Iterator[tuple[str, Json]]:
    text = of_text or f"{of_part}_text"
    index = {"content_index": 0} if of_text else {"summary_index": 0}
    yield f"response.{of_part}_part.added", {**place, **index, "part": {**part, "text": ""}}
    for piece in pieces:
        yield f"response.{text}.delta", {**place, **index, "delta": piece}
    yield f"response.{text}.done", {**place, **index, "text": part["text"]}
    yield f"response.{of_part}_part.done", {**place, **index, "part": part}


def _arguments(place: Json, arguments: str) -> Iterator[tuple[str, Json]]:
    size = -(-len(arguments) // _ARGUMENT_PIECES)
    for begin in range(0, len(arguments), size):
        piece = arguments[begin : begin + size]
        yield "response.function_call_arguments.delta", {**place, "delta": piece}
    yield "response.function_call_arguments.done", {**place, "arguments": arguments}


def resolved(items: Sequence[Json], known: Mapping[str, Json]) -> tuple[list[Json], str | None]:
    """The items with references replaced by what they refer to; and the first id that is not known."""
    found: list[Json] = []
    for item in items:
        if isinstance(item, dict) and item.get("type") == "item_reference":
            if item.get("id") not in known:
                return found, str(item.get("id"))
            found.append(known[item["id"]])
        else:
            found.append(item)
    return found, None


def tokens(value: Any) -> int:
    """Estimated as characters through four."""
    return _tokens(json.dumps(value))


def _tokens(text: str) -> int:
    return -(-len(text) // 4)
