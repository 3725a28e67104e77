"""Text events that are known again by what stands around their text."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge.dialects.chat_completions.meaning import Alike, may_mean_something
from aibridge.wire.sse import encode


def _event(text: Any, **more: Any) -> bytes:
    choice = {"index": 0, "delta": {"content": text, **more}, "finish_reason": None}
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [choice]}
    return encode(json.dumps(chunk, separators=(",", ":")).encode())


def _learned() -> Alike:
    alike = Alike()
    alike.learn(_event("Hello"))
    return alike


CALL = _event(None, tool_calls=[{"index": 0, "function": {"name": "a__b", "arguments": ""}}])


OTHERS = [CALL, _event("x", role="assistant"), b"data: [DONE]\n\n", b": ping\n\n"]


@pytest.mark.parametrize("other", OTHERS)
def test_events_that_are_alike_are_counted_up_to_one_that_is_not(other: bytes) -> None:
    same = _event("a") + _event("\n b") + _event("c")
    assert _learned().run(same + other + _event("d"), 0) == (3, len(same))
    assert _learned().run(other + same, len(other)) == (3, len(other + same))


@pytest.mark.parametrize("text", ["", 'a "quoted" word'])
def test_an_event_without_text_or_with_a_quote_is_looked_at_by_itself(text: str) -> None:
    assert _learned().run(_event(text), 0) == (0, 0)


def test_nothing_is_alike_before_something_was_learned() -> None:
    assert Alike().run(_event("a"), 0) == (0, 0)


@pytest.mark.parametrize(
    "first", [_event('"'), _event("a", reasoning_content="hm"), b": ping\n\n", _event(None)]
)
def test_an_event_that_could_mislead_is_not_learned(first: bytes) -> None:
    alike = Alike()
    alike.learn(first)
    assert alike.run(_event("a"), 0) == (0, 0)


@given(st.lists(st.text(max_size=12) | st.just(None), max_size=6), st.data())
def test_nothing_that_may_mean_something_is_alike(texts: list[str | None], data: st.DataObject) -> None:
    block = b"".join(CALL if text is None else _event(text) for text in texts)
    cut = data.draw(st.integers(0, len(block)))
    count, end = _learned().run(block[:cut], 0)
    assert not may_mean_something(block[:end])
    assert block[:end].count(b"\n\n") == count
    assert end == 0 or block[:end].endswith(b"\n\n")
