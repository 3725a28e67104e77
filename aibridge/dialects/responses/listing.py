"""What a request brought, as the API lists it: every item with an id, texts as parts, page by page."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from aibridge.dialects.bodies import bad_request
from aibridge.dialects.responses.items import Item, kind_of

MOST = 100
USUAL = 20
PREFIXES: Mapping[str, str] = {
    "message": "msg",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
    "reasoning": "rs",
}
"""How ids of items begin, by type."""


def listed(items: Sequence[Any], response_id: str, query: Mapping[str, str]) -> dict[str, Any]:
    """A page of `items`; `query` says `order`, `after`, `limit`. Raises BridgeError (400)."""
    told = [_told(item, f"{response_id}:{at}") for at, item in enumerate(items) if isinstance(item, dict)]
    if query.get("order") != "asc":  # the newest first, as the API does
        told.reverse()
    after = query.get("after")
    start = next((at + 1 for at, item in enumerate(told) if item["id"] == after), 0)
    page = told[start : start + _limit(query.get("limit"))]
    ends = {"first_id": page[0]["id"], "last_id": page[-1]["id"]} if page else dict.fromkeys(ENDS)
    return {"object": "list", "data": page, **ends, "has_more": start + len(page) < len(told)}


ENDS = ("first_id", "last_id")


def _limit(text: str | None) -> int:
    if text is None:
        return USUAL
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MOST):
        raise bad_request(f"`limit` is a number from 1 to {MOST}", "limit")
    return int(text)


def _told(item: Item, seed: str) -> dict[str, Any]:
    """An item with the id that its client gave it, else one that is always the same."""
    kind = kind_of(item)
    made = f"{PREFIXES.get(kind, 'item')}_{hashlib.sha256(seed.encode()).hexdigest()[:32]}"
    told = {"id": item.get("id") or made, "type": kind, "status": "completed"}
    content = item.get("content")
    if kind == "message" and isinstance(content, str):
        part = "output_text" if item.get("role") == "assistant" else "input_text"
        return {**told, **_rest(item), "content": [{"type": part, "text": content}]}
    return {**told, **_rest(item)}


def _rest(item: Item) -> dict[str, Any]:
    return {key: value for key, value in item.items() if key != "id"}
