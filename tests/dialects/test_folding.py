"""Deltas, in whatever pieces they come, fold into the message that the model said."""

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from aibridge.dialects.folding import NAMES, fold

TEXT_KEYS = st.sampled_from(["content", "reasoning_content", "arguments", "signature", "new_field"])
NAME_KEYS = st.sampled_from([*sorted(NAMES), "tool_call_id", "session_id"])
LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=4)
DELTAS = st.dictionaries(
    TEXT_KEYS | NAME_KEYS,
    st.recursive(
        LEAVES,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(TEXT_KEYS | st.just("index"), inner, max_size=3)
            | st.lists(st.fixed_dictionaries({"index": st.integers(0, 2), "text": inner}), max_size=3)
        ),
        max_leaves=6,
    ),
    max_size=4,
)


def _folded(*deltas: dict[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = {}
    for delta in deltas:
        fold(message, delta)
    return message


@given(TEXT_KEYS, st.lists(st.text(max_size=5), min_size=1, max_size=8))
def test_pieces_of_a_text_are_joined(key: str, pieces: list[str]) -> None:
    assert _folded(*({key: piece} for piece in pieces)) == {key: "".join(pieces)}


@given(NAME_KEYS, st.lists(st.text(max_size=5), min_size=1, max_size=4))
def test_of_names_the_last_counts(key: str, names: list[str]) -> None:
    assert _folded(*({key: name} for name in names)) == {key: names[-1]}


@given(st.lists(st.integers() | st.booleans(), min_size=1, max_size=4))
def test_of_numbers_the_last_counts(numbers: list[int]) -> None:
    assert _folded(*({"logprob": number} for number in numbers)) == {"logprob": numbers[-1]}


@given(st.lists(DELTAS, max_size=4))
def test_deltas_stay_as_they_are(deltas: list[dict[str, Any]]) -> None:
    before = copy.deepcopy(deltas)
    _folded(*deltas)
    assert deltas == before


@given(DELTAS)
def test_null_changes_nothing(delta: dict[str, Any]) -> None:
    once = _folded(delta)
    assert _folded(delta, dict.fromkeys(delta)) == once


@given(st.lists(DELTAS, max_size=3), st.lists(DELTAS, max_size=3))
def test_folding_goes_on_where_it_stopped(first: list[dict[str, Any]], rest: list[dict[str, Any]]) -> None:
    message = _folded(*first)
    for delta in rest:
        fold(message, delta)
    assert message == _folded(*first, *rest)


@given(st.permutations([0, 1, 2]), st.lists(st.integers(0, 2), max_size=8))
def test_items_are_told_apart_by_their_index(order: list[int], pieces: list[int]) -> None:
    items = [{"index": at, "type": "text", "text": f"<{at}>"} for at in order]
    more = [{"index": at, "text": "+"} for at in pieces]
    folded = _folded(*({"parts": [item]} for item in [*items, *more]))
    assert folded["parts"] == [
        {"index": at, "type": "text", "text": f"<{at}>" + "+" * pieces.count(at)} for at in order
    ]


def test_two_items_of_one_delta_with_the_same_index_are_one() -> None:
    assert _folded({"parts": [{"index": 0, "text": "a"}, {"index": 0, "text": "b"}]}) == {
        "parts": [{"index": 0, "text": "ab"}]
    }


def test_items_without_an_index_are_all_kept() -> None:
    assert _folded({"annotations": [{"url": "a"}]}, {"annotations": [{"url": "b"}, 7]}) == {
        "annotations": [{"url": "a"}, {"url": "b"}, 7]
    }


def test_objects_are_folded_by_key() -> None:
    deltas = (
        {"extra_content": {"google": {"thought_signature": "ab"}}},
        {"extra_content": {"google": {"thought_signature": "cd"}, "other": 1}},
    )
    assert _folded(*deltas) == {"extra_content": {"google": {"thought_signature": "abcd"}, "other": 1}}


def test_a_role_that_every_delta_repeats_is_said_once() -> None:
    assert _folded({"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}) == {
        "role": "assistant",
        "content": "ab",
    }


def test_text_after_null_is_the_text() -> None:
    assert _folded({"content": None}, {"content": "a"}, {"content": None}) == {"content": "a"}
