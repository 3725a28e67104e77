"""A turn's message as it goes back upstream.

Whole, but with arguments that can be read: some servers parse the history. Of the fields that aibridge does
not know, those that the upstream takes (`upstreams.*.send_back`).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from aibridge.nouns import SendBack, goes_back
from aibridge.wire.json_text import dumps, loads

MESSAGE = frozenset({"role", "content", "tool_calls", "tool_call_id", "name"})
CALL = frozenset({"id", "type", "function", "custom"})
FUNCTION = frozenset({"name", "arguments"})
"""The fields of the standard; all others are unknown ones."""


def said(message: Mapping[str, Any], send_back: SendBack) -> str:
    """The JSON text of a turn's message with calls."""
    calls = [_with_valid_arguments(call) for call in message["tool_calls"]]
    return dumps(limited({**message, "tool_calls": calls}, send_back))


def limited(message: Mapping[str, Any], send_back: SendBack) -> Mapping[str, Any]:
    """The message with the standard's fields and, of others, those in `send_back`."""
    if send_back == "all":
        return message
    limited = _limited(message, MESSAGE, send_back)
    if message.get("tool_calls"):
        limited["tool_calls"] = [_limited_call(call, send_back) for call in message["tool_calls"]]
    return limited


def unknown_fields(message: Mapping[str, Any]) -> Iterator[str]:
    """Names of the fields that are not of the standard, those of its calls included."""
    yield from message.keys() - MESSAGE
    for call in message.get("tool_calls") or ():
        yield from call.keys() - CALL
        if isinstance(call.get("function"), dict):
            yield from call["function"].keys() - FUNCTION


def _limited_call(call: Mapping[str, Any], send_back: SendBack) -> Mapping[str, Any]:
    limited = _limited(call, CALL, send_back)
    if isinstance(call.get("function"), dict):
        limited["function"] = _limited(call["function"], FUNCTION, send_back)
    return limited


def _limited(fields: Mapping[str, Any], standard: frozenset[str], send_back: SendBack) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key in standard or goes_back(key, send_back)}


def _with_valid_arguments(call: Mapping[str, Any]) -> Mapping[str, Any]:
    """Arguments that are no JSON object go back as `{}`."""
    function = call.get("function")
    if not isinstance(function, dict):
        return call
    try:
        valid = isinstance(loads(function.get("arguments") or ""), dict)
    except ValueError:
        valid = False
    return call if valid else {**call, "function": {**function, "arguments": "{}"}}
