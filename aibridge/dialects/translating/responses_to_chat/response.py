"""The response object around the items: what was asked, told back, and how it ended."""

from collections.abc import Mapping, Sequence
from typing import Any

from aibridge.dialects.usage import read_usage

ECHOED: Mapping[str, Any] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "auto",
    "store": True,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": None,
    "truncation": "disabled",
    "user": None,
}
"""Fields of a request that its response tells, with what they are where the request does not say."""
INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
COUNTED = frozenset({"prompt_tokens", "completion_tokens", "total_tokens"})


def begun(value: Mapping[str, Any], response_id: str, created: int, model: str) -> dict[str, Any]:
    """The response before anything was said."""
    echoed = {key: default if value.get(key) is None else value[key] for key, default in ECHOED.items()}
    return {
        "id": response_id,
        "object": "response",
        "created_at": created,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "model": model,
        "output": [],
        "usage": None,
        **echoed,
    }


def ended(
    response: Mapping[str, Any], output: Sequence[Any], reason: str | None, usage: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The response at its end."""
    cut = INCOMPLETE.get(reason or "")
    told = {"status": "incomplete", "incomplete_details": {"reason": cut}} if cut else {"status": "completed"}
    return {**response, **told, "output": list(output), "usage": usage_of(usage)}


def failed(
    response: Mapping[str, Any], output: Sequence[Any], error: Mapping[str, Any], usage: Any
) -> dict[str, Any]:
    """The response that the upstream's own error ended."""
    told = {"status": "failed", "error": dict(error)}
    return {**response, **told, "output": list(output), "usage": usage_of(usage)}


def usage_of(told: Any) -> dict[str, Any] | None:
    """The usage in the words of the Responses API; other figures stay beside it."""
    if not isinstance(told, dict):
        return None
    usage = read_usage(told)
    asked = usage.input + usage.cache_read + usage.cache_write
    details = {"cached_tokens": usage.cache_read, "cache_write_tokens": usage.cache_write}
    return {
        "input_tokens": asked,
        "input_tokens_details": details,
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": asked + usage.output,
        **usage.other,
    }


def error_of(told: Any) -> dict[str, Any]:
    """An upstream's error as it stands in a response: its code, where it says one, and its message."""
    inner = told if isinstance(told, dict) else {"message": told}
    message = inner.get("message")
    code = inner.get("code") if isinstance(inner.get("code"), str) else inner.get("type")
    return {
        "code": code if isinstance(code, str) and code else "server_error",
        "message": message if isinstance(message, str) else "the upstream sent an error without a message",
    }
