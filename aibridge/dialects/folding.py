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
            else:
                into[key] = _folded(key, into.get(key), value)
    for key, pieces in texts.items():
        into[key] = _folded(key, into.get(key), "".join(pieces))


def _is_joined(key: str) -> bool:
    return key not in NAMES and not key.endswith("_id")


def _folded(key: str, old: Any, new: Any) -> Any:
    if new is None:
        return old
    if isinstance(new, str):
        return old + new if isinstance(old, str) and _is_joined(key) else new
    if isinstance(new, dict):
        folded = dict(old) if isinstance(old, dict) else {}
        fold(folded, new)
        return folded
    if isinstance(new, list):
        folded_list = list(old) if isinstance(old, list) else []
        for item in new:
            _fold_item(folded_list, item)
        return folded_list
    return new


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
