"""Deltas folded by shape into the message that the model said, whatever its fields are called.

Strings are joined, numbers and names last, lists by `index`, objects by key; null changes nothing
(2-wire.md, "Reading calls as providers really send them"). So a field that aibridge does not know
(`reasoning_details`, a thought signature, what comes next year) goes back upstream whole.
"""

from typing import Any

NAMES = frozenset({"id", "type", "role", "name", "format", "status", "object", "model"})
"""Strings that providers repeat whole in every delta, so they are never joined."""


def fold(into: dict[str, Any], *deltas: dict[str, Any]) -> None:
    """Fold `deltas`, in order, into `into`."""
    texts: dict[str, list[str]] = {}
    for delta in deltas:
        for key, value in delta.items():
            if isinstance(value, str) and _is_joined(key):
                texts.setdefault(key, []).append(value)  # joined once: long texts come in many pieces
            elif value is not None:
                _add_text(into, key, texts.pop(key, []))
                into[key] = _folded(into.get(key), value)
    for key, pieces in texts.items():
        _add_text(into, key, pieces)


def _add_text(into: dict[str, Any], key: str, pieces: list[str]) -> None:
    if pieces:
        old, text = into.get(key), "".join(pieces)
        if isinstance(old, list):
            into[key] = _with_text(old, text)
        else:
            into[key] = old + text if isinstance(old, str) else text


def _is_joined(key: str) -> bool:
    return key not in NAMES and not key.endswith("_id")


def _folded(old: Any, new: Any) -> Any:
    if isinstance(new, dict):
        folded = dict(old) if isinstance(old, dict) else {}
        fold(folded, new)
        return folded
    if isinstance(new, list):
        items = _with_text([], old) if isinstance(old, str) else list(old) if isinstance(old, list) else []
        for item in new:
            _fold_item(items, item)
        return items
    return new


def _with_text(parts: list[Any], text: str) -> list[Any]:
    """A text among parts is a text part: Mistral's content is a list while it thinks, then a string."""
    if not text:
        return parts
    last = parts[-1] if parts else None
    if isinstance(last, dict) and last.keys() == {"type", "text"} and last["type"] == "text":
        return [*parts[:-1], {"type": "text", "text": f"{last['text']}{text}"}]
    return [*parts, {"type": "text", "text": text}]


def _fold_item(items: list[Any], item: Any) -> None:
    """An item with an `index` goes into the item with the same one, any other is a new one."""
    if isinstance(item, dict) and "index" in item:
        for known in items:
            if isinstance(known, dict) and known.get("index") == item["index"]:
                fold(known, item)
                return
    if isinstance(item, dict):
        copy: dict[str, Any] = {}
        fold(copy, item)
        items.append(copy)
    else:
        items.append(item)
