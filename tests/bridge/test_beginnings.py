"""What was looked through of a conversation is not again, and nothing is found otherwise for that."""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aibridge.bridge import beginnings
from aibridge.bridge.answers import Whose
from aibridge.bridge.memory import Memory, Remembering
from aibridge.bridge.recall import Recall
from aibridge.dialects.base import Request, Unit, Visible
from aibridge.dialects.chat_completions.request import ChatRequest
from aibridge.dialects.responses.request import ResponsesRequest
from aibridge.nouns import Tool
from tests.support.examples import examples

Json = dict[str, Any]
TOOLS = (Tool("time__now", "time", "now", "", {}),)
ANN, BOB = (Whose(name, None, None, "chat_completions") for name in ("ann", "bob"))
WORDS = st.sampled_from(["yes", "no", "it is noon", "é" * 20, "x" * 50])


@contextmanager
def _steps_of(size: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(beginnings, "STEP", size)
        yield


def _said(role: str, text: str) -> Json:
    return {"role": role, "content": text}


def _chat(messages: Sequence[Json]) -> ChatRequest:
    return ChatRequest.read(json.dumps({"model": "m", "messages": list(messages)}).encode())


def _items(messages: Sequence[Json]) -> ResponsesRequest:
    items = [{"type": "message", **each} for each in messages]
    return ResponsesRequest.read(json.dumps({"model": "m", "input": items}).encode())


async def _keep(recall: Recall, request: Request, whose: Whose, answer: str, hidden: str) -> None:
    item = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": hidden}]}
    unit = Unit((json.dumps(item),), ("",), "", ("time__now",))
    await recall.keep(request, whose, "u", unit, [Visible("assistant", answer.strip())])


def _asked(recall: Recall, request: Request, whose: Whose = ANN) -> bytes:
    """What is asked upstream."""
    found, _ = asyncio.run(recall.put_back(request, whose, TOOLS, "u"))
    return found.body


STEPS = st.one_of(
    st.tuples(st.just("asks"), WORDS, st.none() | WORDS, WORDS, st.booleans()),
    st.tuples(st.just("drops"), st.integers(1, 6)),
    st.tuples(
        st.just("changes"), st.integers(0, 30), WORDS, st.sampled_from(["user", "assistant", "system"])
    ),
)


@given(st.lists(STEPS, max_size=25), st.sampled_from([_chat, _items]), st.sampled_from([16, 100, 300]))
@settings(max_examples=examples(60))
def test_whatever_a_conversation_becomes_the_same_is_found_as_without_memory(
    steps: list[tuple[Any, ...]], read: Any, size: int
) -> None:
    store, messages = Memory(), [_said("system", "Be brief.")]
    recall = Recall(Remembering(store))
    with _steps_of(size):
        for what, *how in steps:
            if what == "asks":
                question, hidden, answer, brings_back = how
                messages.append(_said("user", question))
                if hidden is not None:
                    asyncio.run(_keep(recall, read(messages), ANN, answer, hidden))
                messages.append(_said("assistant", answer))
                messages += [_said("assistant", "And more.")] * brings_back
            elif what == "drops":
                del messages[-how[0] :]
            elif messages:
                at, text, role = how
                messages[at % len(messages)] = _said(role, text)
            request = read([*messages, _said("user", "So?")])
            assert _asked(recall, request) == _asked(Recall(Remembering(store)), request)
            assert _asked(recall, request, BOB) == request.body


def _long(count: int) -> list[Json]:
    return [
        _said(("user", "assistant")[at % 2], f"Number {at}, and then {'so on ' * 8}.") for at in range(count)
    ]


@pytest.mark.parametrize("read", [_chat, _items])
def test_only_what_is_new_of_a_long_conversation_is_looked_through(read: Any) -> None:
    remembering = Remembering(Memory())
    recall = Recall(remembering)
    for count in (400, 401, 403, 405):
        _asked(recall, read(_long(count)))
        known = remembering.beginnings.begin(ANN.digest, read(_long(count)).history).beginning
        assert count - 60 < known.place <= count
        assert remembering.beginnings.begin(BOB.digest, read(_long(count)).history).beginning.place == 0


def test_an_answer_that_hid_something_is_asked_for_each_time_and_forgotten_at_once() -> None:
    store, messages = Memory(), _long(400)
    recall = Recall(Remembering(store))
    asyncio.run(_keep(recall, _chat(messages[:1]), ANN, str(messages[1]["content"]), "Hidden."))
    for _ in range(3):
        assert b"Hidden." in _asked(recall, _chat(messages))
    store._kept.clear()  # as when another process forgets it
    assert b"Hidden." not in _asked(recall, _chat(messages))


def test_an_answer_of_the_same_words_may_hide_something_later() -> None:
    recall, messages = Recall(Remembering(Memory())), _long(400)
    assert b"Hidden." not in _asked(recall, _chat(messages))
    asyncio.run(_keep(recall, _chat(messages[:1]), ANN, str(messages[1]["content"]), "Hidden."))
    assert b"Hidden." in _asked(recall, _chat(messages))


class _Away(Memory):
    """A store that cannot be reached for a while."""

    away = True

    async def get(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        if self.away:
            raise ConnectionError
        return await super().get(keys)


def test_what_a_store_that_is_away_does_not_tell_is_asked_again() -> None:
    store, messages = _Away(), _long(400)
    recall = Recall(Remembering(store))
    asyncio.run(_keep(recall, _chat(messages[:1]), ANN, str(messages[1]["content"]), "Hidden."))
    assert b"Hidden." not in _asked(recall, _chat(messages))
    store.away = False
    assert b"Hidden." in _asked(recall, _chat(messages))


def test_the_memory_is_bounded_and_those_that_were_asked_last_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beginnings, "MOST", 20)
    remembering = Remembering(Memory())
    recall = Recall(remembering)
    others = [[_said("user", f"Conversation {number}."), *_long(200)] for number in range(12)]
    for messages in others:
        _asked(recall, _chat(_long(200)))
        _asked(recall, _chat(messages))
        assert remembering.beginnings._weight == len(remembering.beginnings._known) <= 20
    begin = remembering.beginnings.begin
    known = [begin(ANN.digest, _chat(each).history).known for each in (_long(200), *others)]
    assert known[0] and known[-1] and not known[1]
