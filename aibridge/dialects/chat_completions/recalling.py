"""Hidden turns put back into a client's messages: the joined text split again, results in call order.

What the client wrote wins for its text and its calls; the rest is as the upstream said and got it. So the
messages asked upstream begin with those that were asked the last time, byte for byte.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from aibridge.dialects.base import Unit, Visible
from aibridge.dialects.chat_completions.history import limited
from aibridge.dialects.chat_completions.reading import calls_in, content_text
from aibridge.dialects.restoring import CannotRestore, in_call_order
from aibridge.wire.json_text import dumps, item_spans, loads, replace_items

SYSTEM = ("system", "developer")


def has_answer(messages: Sequence[Any]) -> bool:
    """Whether an answer is among the messages."""
    return any(isinstance(each, dict) and each.get("role") == "assistant" for each in reversed(messages))


def visible_messages(messages: Sequence[Any], start: int = 0) -> list[tuple[int, Visible]]:
    """The messages that count, with their places, from `start` on."""
    return [
        (at, visible_message(message))
        for at, message in enumerate(messages[start:], start)
        if isinstance(message, dict) and message.get("role") not in SYSTEM
    ]


def visible_message(message: Mapping[str, Any]) -> Visible:
    """A message by its role, text, and call ids and names; string and parts are alike."""
    calls = [
        (str(call.get("id")), str((call.get("function") or call.get("custom") or {}).get("name")))
        for call in calls_in(message)
    ]
    if isinstance(message.get("tool_call_id"), str):
        calls.append((message["tool_call_id"], ""))
    return Visible(str(message.get("role")), content_text(message.get("content")).strip(), tuple(calls))


def put_back(
    array: str, messages: Sequence[Any], units: Mapping[int, Unit], standard: frozenset[int]
) -> tuple[str, int]:
    """The messages' text with `units` put back, and how many turns these were."""
    spans = item_spans(array)
    texts = [array[start:end] for start, end in spans]
    changes: dict[int, Sequence[str]] = {}
    turns = 0
    for at, unit in units.items():
        try:
            unit = _standard_unit(unit) if at in standard else unit
            restored = _restored(messages, texts, at, unit)
        except CannotRestore:
            continue
        changes[at] = [*unit.hidden, restored.message]
        changes.update(restored.results)
        turns += unit.turns
    return (replace_items(array, changes) if changes else array), turns


class _Restored:
    """The last turn of a unit, and the results after it by their places."""

    def __init__(self, message: str, results: dict[int, Sequence[str]]) -> None:
        self.message, self.results = message, results


def _restored(messages: Sequence[Any], texts: Sequence[str], at: int, unit: Unit) -> _Restored:
    message = messages[at]
    rest = _own_content(message.get("content"), unit)
    if unit.last is None:
        same = rest is message.get("content")
        return _Restored(texts[at] if same else dumps({**message, "content": rest}), {})
    whole = loads(unit.last)
    clients = {call.get("id"): call for call in calls_in(message)}
    calls = [_merged(call, clients.get(call["id"])) for call in whole["tool_calls"]]
    said = dumps({**whole, "content": rest or whole.get("content"), "tool_calls": calls})
    order = [call["id"] for call in calls]
    if len(set(order)) < len(order):
        raise CannotRestore  # ids that do not tell calls apart do not tell their results apart either
    return _Restored(said, _results(messages, texts, at + 1, order, dict(unit.results)))


def _merged(call: dict[str, Any], clients: dict[str, Any] | None) -> dict[str, Any]:
    """A call with what its client wrote; fields that the client dropped (signatures) stay."""
    return {**call, **clients} if clients else call


def _results(
    messages: Sequence[Any], texts: Sequence[str], start: int, order: Sequence[str], hidden: Mapping[str, str]
) -> dict[int, Sequence[str]]:
    """The client's results, from `start` on, and the hidden ones, in call order, at the first one's place."""
    end = start
    while end < len(messages) and _answers(messages[end]) is not None:
        end += 1
    answers = [(str(_answers(messages[at])), texts[at]) for at in range(start, end)]
    return in_call_order(start, answers, order, hidden)


def _answers(message: Any) -> str | None:
    """The id of the call that a message answers."""
    if not isinstance(message, dict) or message.get("role") != "tool":
        return None
    return str(message.get("tool_call_id"))


def _own_content(content: Any, unit: Unit) -> Any:
    """The last turn's own content: the client's, less the hidden turns' texts before it."""
    texts = [text for text in unit.texts if text]
    if not texts:
        return content
    if isinstance(content, list):
        return _own_parts(content, unit)
    if content is None:  # what some clients send for white space alone
        return _own_content("", unit)
    if not isinstance(content, str):
        raise CannotRestore
    hidden = unit.separator.join(texts)
    if content.startswith(hidden + unit.separator):
        return content[len(hidden + unit.separator) :]
    trimmed, begun = content.lstrip(), (hidden + unit.separator).lstrip()  # some clients trim
    if trimmed.startswith(begun):
        return trimmed[len(begun) :]
    if content.strip() == hidden.strip():
        return ""
    raise CannotRestore


def _own_parts(content: list[Any], unit: Unit) -> list[Any]:
    """The same for content in parts: the first text part begins with the hidden texts."""
    for at, part in enumerate(content):
        if isinstance(part, dict) and part.get("type") == "text":
            return [*content[:at], {**part, "text": _own_content(part.get("text"), unit)}, *content[at + 1 :]]
    raise CannotRestore


def _standard_unit(unit: Unit) -> Unit:
    hidden = tuple(_standard(text) for text in unit.hidden)
    return replace(unit, hidden=hidden, last=_standard(unit.last) if unit.last else None)


def _standard(text: str) -> str:
    """A message with the fields of the standard alone."""
    return dumps(limited(loads(text), "none"))
