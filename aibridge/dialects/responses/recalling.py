"""Hidden turns put back into a client's items: at the place of the answer, with results in call order.

A turn of the assistant is a run of items. What the client wrote wins for what it wrote; the rest is as the
upstream said and got it. So the items asked upstream begin with those that were asked the last time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aibridge.dialects.base import Unit, Visible
from aibridge.dialects.responses.items import (
    Item,
    answered_in,
    clients_call,
    kind_of,
    limited,
    said_in,
    text_of,
)
from aibridge.dialects.responses.showing import mcp_id
from aibridge.dialects.restoring import CannotRestore, in_call_order
from aibridge.wire.json_text import dumps, item_spans, loads, replace_items

SYSTEM = ("system", "developer")
ANSWERS = ("_output", "_response")
"""Endings of the types in which a client answers calls."""
ANY_MODEL = frozenset({"message", "function_call", "custom_tool_call"})
"""Items that another model understands; outputs beside them."""


@dataclass(frozen=True, slots=True)
class Group:
    """Items that make one turn."""

    start: int
    end: int
    visible: Visible


def referred(item_id: str) -> str:
    """A message that a client refers to by its id, where a text would stand."""
    return f"item:{item_id}"


def visible_groups(items: Sequence[Any], start: int = 0) -> list[Group]:
    """The turns among a client's items: of the user, of the assistant, and each answer to a call.

    Those from `start` on, where one begins.
    """
    groups: list[Group] = []
    begun: int | None = None
    for at, item in enumerate([*items[start:], {"role": "system"}], start):
        role = _role(item)
        if role == "assistant":
            begun = at if begun is None else begun
            continue
        if begun is not None:
            groups.append(Group(begun, at, _answer(items[begun:at])))
            begun = None
        if role == "user":
            groups.append(Group(at, at + 1, Visible("user", text_of(item.get("content")).strip())))
        elif role == "tool":
            called = ((str(item.get("call_id")), ""),)
            groups.append(Group(at, at + 1, Visible("tool", text_of(item.get("output")).strip(), called)))
    return groups


def _role(item: Any) -> str:
    """Whose an item is; what is no item is nobody's."""
    if not isinstance(item, dict) or item.get("role") in SYSTEM:
        return "system"
    if kind_of(item) == "message":
        return "user" if item.get("role") == "user" else "assistant"
    return "tool" if kind_of(item).endswith(ANSWERS) else "assistant"


def _answer(items: Sequence[Item]) -> Visible:
    """A turn of the assistant by its texts, and the calls that its client answers."""
    answered = answered_in(items)
    calls = [call for item in items if (call := clients_call(item, answered))]
    said = (referred(str(item.get("id"))) if _refers(item) else said_in(item) for item in items)
    return Visible("assistant", "\n".join(filter(None, said)), tuple((call.id, call.name) for call in calls))


def _refers(item: Item) -> bool:
    # References to a reasoning or a call are made too; only messages of hidden turns can be told by them.
    return kind_of(item) == "item_reference" and str(item.get("id")).startswith("msg")


def put_back(
    array: str, items: Sequence[Any], units: Mapping[int, Unit], standard: frozenset[int]
) -> tuple[str, int]:
    """The items' text with `units` put back, and how many turns these were."""
    texts = [array[start:end] for start, end in item_spans(array)]
    ends = {group.start: group.end for group in visible_groups(items)}
    changes: dict[int, Sequence[str]] = {}
    turns = 0
    for at, unit in units.items():
        unit = _for_any_model(unit) if at in standard else unit
        try:
            changes.update(_restored(items, texts, range(at, ends[at]), unit))
        except CannotRestore:
            continue
        turns += unit.turns
    return (replace_items(array, changes) if changes else array), turns


def _restored(
    items: Sequence[Any], texts: Sequence[str], places: range, unit: Unit
) -> dict[int, Sequence[str]]:
    """The items of the answer, and those of the results after it, by their places."""
    own = [_Own(texts[at], items[at]) for at in places]
    rest = _without_hidden(own, [loads(text) for text in unit.hidden], shown=any(unit.texts))
    results: dict[int, Sequence[str]] = {}
    if unit.last is None:
        last = [each.text for each in rest]
    else:
        last, order = _whole(rest, unit.last)
        results = _results(items, texts, places.stop, order, dict(unit.results))
    changes: dict[int, Sequence[str]] = dict.fromkeys(places, ())
    return {**changes, places.start: [*unit.hidden, *last], **results}


@dataclass(frozen=True, slots=True, eq=False)
class _Own:
    """An item of the client's answer."""

    text: str
    item: Item

    def is_same(self, other: Item) -> bool:
        """True where the client sent `other` back, whatever it left out."""
        for key in ("id", "call_id", "encrypted_content"):
            if self.item.get(key) and self.item[key] == other.get(key):
                return True
        return bool(said_in(self.item)) and said_in(self.item) == said_in(other)


def _without_hidden(own: Sequence[_Own], hidden: Sequence[Item], *, shown: bool) -> list[_Own]:
    """The items that are the last turn's: those less what the client saw of hidden turns."""
    calls = {mcp_id(item) for item in hidden if kind_of(item) == "function_call"}
    left = [item for item in hidden if kind_of(item) != "function_call" and not _is_output(item)]
    rest: list[_Own] = []
    for each in own:
        found = next((item for item in left if each.is_same(item)), None)
        if found is not None:
            left.remove(found)
        elif each.item.get("id") not in calls:
            rest.append(each)
    if shown and any(said_in(item) for item in left):
        raise CannotRestore  # a text that was shown did not come back as it was
    return rest


def _whole(rest: Sequence[_Own], last: str) -> tuple[list[str], list[str]]:
    """The last turn's items, hidden calls among them, and the ids of its calls in order."""
    texts: list[str] = []
    left = list(rest)
    values: list[dict[str, Any]] = loads(last)
    for (start, end), value in zip(item_spans(last), values, strict=True):
        found = next((each for each in left if each.is_same(value)), None)
        if found is None:
            texts.append(last[start:end])
            continue
        left.remove(found)
        refers = kind_of(found.item) == "item_reference"
        merged = value if refers else {**value, **found.item}  # what the client left out stays
        texts.append(last[start:end] if merged == value else dumps(merged))
    shown = {mcp_id(value) for value in values if kind_of(value) == "function_call"}
    texts += [each.text for each in left if each.item.get("id") not in shown]
    order = [call.id for value in values if (call := clients_call(value, answered_in(values)))]
    if len(set(order)) < len(order):
        raise CannotRestore  # ids that do not tell calls apart do not tell their results apart either
    return texts, order


def _results(
    items: Sequence[Any], texts: Sequence[str], start: int, order: Sequence[str], hidden: Mapping[str, str]
) -> dict[int, Sequence[str]]:
    end = start
    while end < len(items) and _role(items[end]) == "tool":
        end += 1
    answers = [(_answered_id(items[at]), texts[at]) for at in range(start, end)]
    return in_call_order(start, answers, order, hidden)


def _answered_id(item: Item) -> str:
    return str(item.get("call_id") or item.get("approval_request_id"))


def _is_output(item: Item) -> bool:
    return kind_of(item).endswith(ANSWERS)


def _for_any_model(unit: Unit) -> Unit:
    """The unit without what only the model understands that said it: reasoning, ids, unknown fields."""
    hidden = tuple(_plain(loads(text)) for text in unit.hidden if _is_plain(loads(text)))
    last = None
    if unit.last is not None:
        last = "[" + ",".join(_plain(item) for item in loads(unit.last) if _is_plain(item)) + "]"
    return Unit(hidden, unit.texts, unit.separator, unit.tools, last, unit.results)


def _is_plain(item: Item) -> bool:
    return kind_of(item) in ANY_MODEL or _is_output(item)


def _plain(item: dict[str, Any]) -> str:
    return dumps(limited({key: value for key, value in item.items() if key != "id"}, "none"))
