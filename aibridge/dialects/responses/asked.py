"""What a responses request says, read off its JSON; how it grows is left to `request`."""

from collections.abc import Mapping, Sequence
from typing import Any

from aibridge.dialects.base import Asked
from aibridge.dialects.bodies import as_text
from aibridge.dialects.responses.items import kind_of, text_of


def names_of(tools: Sequence[Any]) -> list[str]:
    """Names of `tools`, custom ones and those in namespaces included."""
    names: list[str] = []
    for tool in tools:
        if isinstance(tool, dict):
            inner = tool.get("tools")
            names += names_of(inner) if isinstance(inner, list) else []
            names += filter(None, [as_text(tool.get("name"))])
    return names


def wants_json(value: Mapping[str, Any]) -> bool:
    """True where the answer has to be JSON."""
    wanted = value.get("text")
    form = wanted.get("format") if isinstance(wanted, dict) else None
    return isinstance(form, dict) and form.get("type") in ("json_object", "json_schema")


def asked_in(value: Mapping[str, Any]) -> Asked:
    """What it says about itself."""
    items = value.get("input")
    last = items[-1] if isinstance(items, list) and items and isinstance(items[-1], dict) else {}
    prompt = items if isinstance(items, str) else _last_text(last) if last.get("role") == "user" else None
    metadata = value.get("metadata")
    return Asked(
        model=value.get("model") or "",
        streamed=value.get("stream") is True,
        prompt=as_text(prompt),
        user=as_text(value.get("safety_identifier")) or as_text(value.get("user")),
        session_id=as_text(value.get("prompt_cache_key")),
        answers_call_id=as_text(last.get("call_id")) if kind_of(last).endswith("_output") else None,
        metadata=metadata if isinstance(metadata, dict) else None,
    )


def _last_text(message: Mapping[str, Any]) -> str | None:
    """A message's last text part."""
    content = message.get("content")
    if isinstance(content, list):
        texts = [part for part in content if text_of([part])]
        return as_text(text_of(texts[-1:]))
    return as_text(content)


def conversation_of(value: Mapping[str, Any]) -> str | None:
    """The conversation that the upstream keeps, by its id."""
    named = value.get("conversation")
    return as_text(named.get("id") if isinstance(named, dict) else named)
