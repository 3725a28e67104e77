"""Output items: what they are, whose call they hold, what of them is seen, and how they go back upstream.

An item is a message, a reasoning, a call of some kind. Unknown kinds are kept whole and are the client's.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aibridge.dialects.naming import Names
from aibridge.nouns import Call, SendBack, goes_back
from aibridge.wire.json_text import dumps, loads

Item = Mapping[str, Any]
TEXT_PARTS = frozenset({"output_text", "input_text", "text", "summary_text", "reasoning_text"})
FIELDS: Mapping[str, frozenset[str]] = {
    "message": frozenset({"type", "id", "role", "status", "content", "phase"}),
    "function_call": frozenset({"type", "id", "call_id", "namespace", "name", "arguments", "status"}),
    "custom_tool_call": frozenset({"type", "id", "call_id", "namespace", "name", "input", "status"}),
    "reasoning": frozenset({"type", "id", "summary", "content", "encrypted_content", "status"}),
}
"""The standard's fields of the items that any server may send; all others of theirs are unknown ones."""


def kind_of(item: Item) -> str:
    """The item's type; a message may leave it out where a client sends it."""
    kind = item.get("type")
    return kind if isinstance(kind, str) else "message" if "role" in item else ""


def text_of(content: Any) -> str:
    """The text in a content or output: a string, or the text of its parts."""
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, dict) and part.get("type") in TEXT_PARTS]
        return "".join(part["text"] for part in parts if isinstance(part.get("text"), str))
    return content if isinstance(content, str) else ""


def said_in(item: Item) -> str:
    """The visible text of a message; empty for any other item."""
    return text_of(item.get("content")).strip() if kind_of(item) == "message" else ""


def is_injected(item: Item, names: Names, *, whole: bool) -> bool | None:
    """Whether aibridge has to run it; None while its name has not come. In a namespace are the client's."""
    if kind_of(item) != "function_call" or item.get("namespace"):
        return False
    name = item.get("name")
    if not isinstance(name, str) or not name:
        return False if whole else None
    return names.is_injected(name, whole=True)


def clients_call(item: Item, answered: frozenset[str]) -> Call | None:
    """The call that the client has to answer; None where the item is none, or the server answered it.

    `answered`: ids of calls that have their output beside them. A call that the server runs by itself has
    no `call_id`.
    """
    kind, call_id = kind_of(item), item.get("call_id")
    if kind == "mcp_approval_request":
        call_id = item.get("id")
    elif not kind.endswith("_call"):
        return None
    if not isinstance(call_id, str) or not call_id or call_id in answered:
        return None
    name = item.get("name")
    arguments = next((item[key] for key in ("arguments", "input", "action") if item.get(key)), "")
    text = arguments if isinstance(arguments, str) else dumps(arguments)
    return Call(call_id, name if isinstance(name, str) and name else kind, text, injected=False)


def answered_in(items: Sequence[Item]) -> frozenset[str]:
    """Ids of the calls whose outputs are among `items`."""
    outputs = (item.get("call_id") for item in items if kind_of(item).endswith("_output"))
    return frozenset(call_id for call_id in outputs if isinstance(call_id, str))


def arguments_whole(item: Item) -> bool:
    """True where a call's arguments are a JSON object, or none are needed."""
    arguments = item.get("arguments")
    try:
        return isinstance(loads(arguments if isinstance(arguments, str) else ""), dict)
    except ValueError:
        return not (isinstance(arguments, str) and arguments.strip())


def sent_back(
    texts: Sequence[str], calls: frozenset[str], send_back: SendBack, *, kept_upstream: bool
) -> list[str]:
    """A turn's items as they go back, untouched where they can be.

    `calls` are ids of the hidden ones: arguments of these that are no JSON object go back as `{}`, because
    some servers parse the history. `kept_upstream`: the upstream keeps items. Where it does not, a
    reasoning that holds nothing but its id is nothing to it, nor are the ids of the items that came of it.
    """
    values: list[dict[str, Any]] = [loads(text) for text in texts]
    bare = [] if kept_upstream else [value for value in values if _is_bare_reasoning(value)]
    back: list[str] = []
    for text, value in zip(texts, values, strict=True):
        if value in bare:
            continue
        changed = {key: field for key, field in value.items() if not (bare and key == "id")}
        if value.get("call_id") in calls and not _has_arguments(value):
            changed["arguments"] = "{}"
        changed = limited(changed, send_back)
        back.append(text if changed == value else dumps(changed))
    return back


def limited(item: dict[str, Any], send_back: SendBack) -> dict[str, Any]:
    """The item with the standard's fields and, of others, those in `send_back`."""
    known = FIELDS.get(kind_of(item))
    if send_back == "all" or known is None:
        return item
    return {key: value for key, value in item.items() if key in known or goes_back(key, send_back)}


def unknown_fields(item: Item) -> Iterator[str]:
    """Names of the item's fields that are not of the standard."""
    known = FIELDS.get(kind_of(item))
    yield from () if known is None else item.keys() - known


def sentence(text: str, seed: str) -> dict[str, Any]:
    """A message of our own."""
    part = {"type": "output_text", "text": text, "annotations": []}
    item_id = "msg_" + hashlib.sha256(seed.encode()).hexdigest()[:32]
    return {"id": item_id, "type": "message", "status": "completed", "role": "assistant", "content": [part]}


def _has_arguments(item: Item) -> bool:
    arguments = item.get("arguments")
    return isinstance(arguments, str) and bool(arguments.strip()) and arguments_whole(item)


def _is_bare_reasoning(item: Item) -> bool:
    return kind_of(item) == "reasoning" and not item.get("encrypted_content") and not item.get("content")
