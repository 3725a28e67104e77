"""The memory of hidden turns is bounded, and what is put back is what was said."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aibridge.bridge.memory import LARGEST, MOST_UNKNOWN, Memory, Remembering
from aibridge.dialects.base import Unit
from aibridge.dialects.chat_completions.recalling import put_back
from tests.support.examples import examples

MEBI = 1 << 20
TEXTS = st.text(st.sampled_from(["a", "b", " ", "\n", "é"]), max_size=6)
WHITE = st.sampled_from(["", " ", "\n ", "\t"])


def _key(number: int) -> bytes:
    return str(number).encode()


def test_the_oldest_go_when_the_memory_is_full() -> None:
    async def fill() -> list[int]:
        memory, each = Memory(), b"x" * (8 * MEBI - 1024)
        for number in range(12):
            await memory.put(_key(number), each, newest_wins=True)
        kept = await memory.get([_key(number) for number in range(12)])
        return [number for number in range(12) if _key(number) in kept]

    assert asyncio.run(fill()) == list(range(12 - LARGEST // (8 * MEBI), 12))


def test_after_a_day_it_is_forgotten() -> None:
    async def wait() -> tuple[int, int]:
        hours = iter([0.0, 0.0, 23.9, 24.1])
        memory = Memory(clock=lambda: next(hours) * 3600)
        await memory.put(b"key", b"content", newest_wins=True)
        return len(await memory.get([b"key"])), len(await memory.get([b"key"]))

    assert asyncio.run(wait()) == (1, 0)


def test_what_is_kept_again_is_counted_once() -> None:
    async def fill() -> int:
        memory, content = Memory(), b"x" * (8 * MEBI)
        await memory.put(b"first", b"1", newest_wins=True)
        for _ in range(20):
            await memory.put(b"again", content, newest_wins=True)
            await memory.put(b"and again", bytes(bytearray(content)), newest_wins=False)
        return len(await memory.get([b"first", b"again", b"and again"]))

    assert asyncio.run(fill()) == 3


class _Away:
    """A store that cannot be reached."""

    async def get(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        raise ConnectionError

    async def put(
        self, key: bytes, content: bytes, *, newest_wins: bool, caller: str, user: str | None
    ) -> None:
        raise ConnectionError


def test_while_the_store_is_away_the_process_remembers() -> None:
    async def ask() -> Mapping[bytes, bytes | None]:
        memory = Remembering(_Away())
        await memory.put(b"a", b"1", newest_wins=True)
        return await memory.get([b"a", b"b"])

    assert asyncio.run(ask()) == {b"a": b"1"}


def test_what_a_store_does_not_know_is_asked_once_and_forgotten_in_the_end() -> None:
    async def ask() -> int:
        store = Memory()
        memory = Remembering(store)
        await memory.get([_key(number) for number in range(MOST_UNKNOWN + 1)])
        for number in (0, 1):
            await store.put(_key(number), b"another process", newest_wins=True)
        return len([content for content in (await memory.get([_key(0), _key(1)])).values() if content])

    assert asyncio.run(ask()) == 1


@pytest.mark.parametrize("content", ["another text", [{"type": "image"}], 5])
def test_a_history_that_does_not_begin_with_the_hidden_texts_stays_as_it_is(content: object) -> None:
    messages = _put_back(["Let me see."], content, mixed=False)
    assert [message["content"] for message in messages] == ["hi", content, "and now?"]


@given(hidden=st.lists(TEXTS, min_size=1, max_size=4), own=TEXTS, parts=st.booleans(), mixed=st.booleans())
@settings(max_examples=examples(100), deadline=None)
def test_a_joined_text_is_split_into_the_turns_own(
    hidden: list[str], own: str, parts: bool, mixed: bool
) -> None:
    joined = "\n\n".join(filter(None, (*hidden, own)))
    content = [{"type": "text", "text": joined}] if parts else joined
    *before, last, after = _put_back(hidden, content, mixed=mixed)
    assert [message["content"] for message in before] == ["hi", *hidden]
    said = last["content"]
    assert (said[0]["text"] if isinstance(said, list) else said or "") == own
    assert after["content"] == "and now?"


@given(hidden=st.lists(TEXTS, min_size=1, max_size=4), own=TEXTS, left=WHITE, right=WHITE)
@settings(max_examples=examples(100), deadline=None)
def test_a_client_that_trims_or_pads_changes_nothing_but_white_space(
    hidden: list[str], own: str, left: str, right: str
) -> None:
    joined = "\n\n".join(filter(None, (*hidden, own)))
    for content in (joined.strip(), left + joined + right):
        *before, last, _ = _put_back(hidden, content, mixed=False)
        if len(before) > 1:  # else the client's history stays as it is
            assert last["content"].split() == own.split()


def _put_back(hidden: Sequence[str], content: object, *, mixed: bool) -> list[dict[str, Any]]:
    said = {"role": "assistant", "tool_calls": [{"id": "1"}]} if mixed else {"role": "assistant"}
    messages = [{"role": "user", "content": "hi"}, {**said, "content": content}]
    messages.append({"role": "user", "content": "and now?"})
    if mixed:
        messages.insert(2, {"role": "tool", "tool_call_id": "1", "content": "done"})
    unit = Unit(
        hidden=tuple(json.dumps({"role": "assistant", "content": text}) for text in hidden),
        texts=tuple(hidden),
        separator="\n\n",
        tools=(),
        last=json.dumps({"role": "assistant", "content": None, "tool_calls": [{"id": "1"}, {"id": "2"}]})
        if mixed
        else None,
        results=(("2", json.dumps({"role": "tool", "tool_call_id": "2", "content": "ours"})),)
        if mixed
        else (),
    )
    text, _ = put_back(json.dumps(messages), messages, {1: unit}, frozenset())
    told: list[dict[str, Any]] = json.loads(text)
    if mixed:
        assert [m["tool_call_id"] for m in told if m["role"] == "tool"] == ["1", "2"]
    return [message for message in told if message["role"] != "tool"]


def test_a_mixed_turn_whose_calls_share_an_id_stays_with_its_clients_half() -> None:
    messages = [
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        {"role": "tool", "tool_call_id": "1", "content": "done"},
    ]
    whole = json.dumps({"role": "assistant", "content": None, "tool_calls": [{"id": "1"}, {"id": "1"}]})
    unit = Unit(hidden=(), texts=(), separator="", tools=(), last=whole, results=(("1", "{}"),))
    text = json.dumps(messages)
    assert put_back(text, messages, {0: unit}, frozenset()) == (text, 0)
