"""Frames of the journal: what was written whole is read whole, whatever follows it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge.records.codec import frame, unframe

payloads = st.lists(st.binary(min_size=1, max_size=60), max_size=8)


@given(payloads)
def test_what_was_framed_is_read(entries: list[bytes]) -> None:
    data = b"".join(map(frame, entries))
    assert unframe(data) == (entries, len(data))


@given(payloads, st.binary(min_size=1, max_size=60), st.data())
def test_a_torn_last_entry_is_dropped_and_nothing_before_it(
    entries: list[bytes], last: bytes, data: st.DataObject
) -> None:
    whole = b"".join(map(frame, entries))
    torn = frame(last)[: data.draw(st.integers(0, len(frame(last)) - 1))]
    assert unframe(whole + torn) == (entries, len(whole))


@given(payloads, st.binary(min_size=1, max_size=60), st.data())
def test_a_last_entry_with_a_wrong_bit_is_dropped_and_nothing_before_it(
    entries: list[bytes], last: bytes, data: st.DataObject
) -> None:
    whole = b"".join(map(frame, entries))
    corrupt = bytearray(frame(last))
    bit = data.draw(st.integers(0, len(corrupt) * 8 - 1))
    corrupt[bit // 8] ^= 1 << bit % 8
    assert unframe(whole + bytes(corrupt)) == (entries, len(whole))


def test_every_cut_of_an_entry_leaves_the_one_before() -> None:
    first, second = frame(b"first"), frame(b"second")
    for length in range(len(second)):
        assert unframe(first + second[:length]) == ([b"first"], len(first))


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    entries, used = unframe(data)
    assert b"".join(map(frame, entries)) == data[:used]


def test_a_run_of_zero_bytes_holds_no_entry() -> None:
    assert unframe(frame(b"x") + bytes(4096)) == ([b"x"], len(frame(b"x")))


def test_an_empty_entry_is_refused() -> None:
    with pytest.raises(ValueError, match="1 to"):
        frame(b"")
