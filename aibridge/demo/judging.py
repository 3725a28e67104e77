"""Whether a chat-completions request is valid, in the words of OpenAI's own API. Pure.

The scripted model refuses what OpenAI refuses, so that it judges whoever rewrites requests: unanswered
or unasked tool results, tools twice or with names that are not allowed, options that do not fit.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_ROLES = ("developer", "system", "user", "assistant", "tool", "function")
_MOST_TOOLS = 128


@dataclass(frozen=True, slots=True)
class Objection:
    """Why a request is refused with status 400."""

    message: str
    param: str | None = None
    code: str | None = None


def objection_to(body: Any) -> Objection | None:
    """The first thing that is wrong with a request, None if it is valid."""
    if not isinstance(body, dict):
        return Objection("We could not parse the JSON body of your request.")
    for check in _CHECKS:
        for objection in check(body):
            return objection
    return None


def _outline(body: Json) -> Iterator[Objection]:
    if not isinstance(body.get("model"), str):
        yield Objection("you must provide a model parameter")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        yield Objection("Invalid 'messages': empty array or wrong type.", "messages", "empty_array")
        return
    for at, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in _ROLES:
            yield Objection(f"Invalid value: 'messages[{at}]'.", f"messages[{at}].role", "invalid_value")


def _contents(body: Json) -> Iterator[Objection]:
    for at, message in enumerate(body["messages"]):
        may_be_empty = message["role"] == "assistant" and (
            message.get("tool_calls") or message.get("function_call") or message.get("refusal")
        )
        if message.get("content") is None and not may_be_empty:
            where = f"messages.[{at}].content"
            yield Objection("Invalid value for 'content': expected a string, got null.", where)


def _past_calls(body: Json) -> Iterator[Objection]:
    for at, message in enumerate(body["messages"]):
        calls, where = message.get("tool_calls"), f"messages[{at}].tool_calls"
        if calls is None:
            continue
        if not isinstance(calls, list) or not calls:
            yield Objection(f"Invalid '{where}': empty array.", where, "empty_array")
            return
        for call in calls:
            if not isinstance(call, dict) or not isinstance(call.get("id"), str) or not call["id"]:
                yield Objection(f"Missing required parameter: '{where}[0].id'.", where, "missing_parameter")
                continue
            if call.get("type") not in ("function", "custom"):
                yield Objection(f"Invalid value: '{where}[0].type'.", where, "invalid_value")
            if call.get("type") == "function":
                yield from _past_function(call.get("function"), where)


def _past_function(function: Any, where: str) -> Iterator[Objection]:
    if not isinstance(function, dict) or not isinstance(function.get("arguments"), str):
        yield Objection(f"Invalid type for '{where}[0].function.arguments'.", where, "invalid_type")
    elif not _NAME.fullmatch(str(function.get("name"))):
        yield Objection(f"Invalid '{where}[0].function.name'.", where, "invalid_value")


def _answers(body: Json) -> Iterator[Objection]:
    """Every call is answered once, by the tool messages that follow it directly."""
    open_ids: list[str] = []
    for at, message in enumerate(body["messages"]):
        if message["role"] == "tool":
            if message.get("tool_call_id") not in open_ids:
                yield Objection(
                    "Invalid parameter: messages with role 'tool' must be a response to a preceeding "
                    "message with 'tool_calls'.",
                    f"messages.[{at}].role",
                )
                return
            open_ids.remove(message["tool_call_id"])
            continue
        yield from _unanswered(open_ids, at)
        open_ids = [call["id"] for call in message.get("tool_calls") or ()]
    yield from _unanswered(open_ids, len(body["messages"]))


def _unanswered(ids: list[str], at: int) -> Iterator[Objection]:
    if ids:
        yield Objection(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            f"'tool_call_id'. The following tool_call_ids did not have response messages: {', '.join(ids)}",
            f"messages.[{at}].role",
        )


def _tools(body: Json) -> Iterator[Objection]:
    tools = body.get("tools")
    if tools is None:
        return
    if not isinstance(tools, list) or not tools:
        yield Objection("Invalid 'tools': empty array.", "tools", "empty_array")
        return
    if len(tools) > _MOST_TOOLS:
        told = f"Expected an array with maximum length {_MOST_TOOLS}, but got {len(tools)} instead."
        yield Objection(f"Invalid 'tools': array too long. {told}", "tools", "array_above_max_length")
    for at, tool in enumerate(tools):
        yield from _tool(tool, f"tools[{at}]")
    names = Counter(_tool_name(tool) for tool in tools)
    for name, times in names.items():
        if times > 1:
            yield Objection(f"Tool names must be unique: '{name}'.", "tools")


def _tool_name(tool: Json) -> Any:
    return (tool.get(tool["type"]) or {}).get("name")


def _tool(tool: Any, where: str) -> Iterator[Objection]:
    if not isinstance(tool, dict) or tool.get("type") not in ("function", "custom"):
        yield Objection(f"Invalid value: '{where}.type'.", f"{where}.type", "invalid_value")
        return
    name = _tool_name(tool)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        told = "Expected a string that matches the pattern '^[a-zA-Z0-9_-]{1,64}$'."
        yield Objection(f"Invalid '{where}.function.name': {told}", f"{where}.function.name", "invalid_value")
    schema = tool.get("function", {}).get("parameters")
    if schema is not None and (not isinstance(schema, dict) or schema.get("type") != "object"):
        told = "schema must be a JSON Schema of 'type: \"object\"'."
        yield _schema_objection(name, where, told)
    elif schema is not None and "properties" not in schema:
        yield _schema_objection(name, where, "In context=(), object schema missing properties.")


def _schema_objection(name: Any, where: str, told: str) -> Objection:
    message = f"Invalid schema for function '{name}': {told}"
    return Objection(message, f"{where}.function.parameters", "invalid_function_parameters")


def _options(body: Json) -> Iterator[Objection]:
    if body.get("stream_options") is not None and not body.get("stream"):
        told = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        yield Objection(told, "stream_options")
    for option in ("tool_choice", "parallel_tool_calls"):
        if body.get(option) not in (None, "none") and not body.get("tools"):
            told = f"Invalid value for '{option}': '{option}' is only allowed when 'tools' are specified."
            yield Objection(told, option)
    match body.get("tool_choice"):
        case {"type": "function", "function": {"name": name}}:
            if name not in [_tool_name(tool) for tool in body["tools"]]:
                yield Objection(f"Tool choice '{name}' not found in 'tools' parameter.", "tool_choice")


_CHECKS: tuple[Callable[[Json], Iterator[Objection]], ...] = (
    _outline,
    _contents,
    _past_calls,
    _answers,
    _tools,
    _options,
)
