"""A turn's message as it goes back upstream.

Whole, but with arguments that can be read: some servers parse the history. Of the fields that aibridge does
not know, those that the upstream takes (`upstreams.*.send_back`).
"""

from collections.abc import Mapping
from typing import Any

from aibridge.nouns import SendBack
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
    named = frozenset(() if send_back == "none" else send_back)
    limited = _only(message, MESSAGE | named)
    if message.get("tool_calls"):
        limited["tool_calls"] = [_limited_call(call, named) for call in message["tool_calls"]]
    return limited


def _limited_call(call: Mapping[str, Any], named: frozenset[str]) -> Mapping[str, Any]:
    limited = _only(call, CALL | named)
    if isinstance(call.get("function"), dict):
        limited["function"] = _only(call["function"], FUNCTION | named)
    return limited


def _only(fields: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key in names}


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
