"""However a stream is cut, its events are the same, and their raw bytes are the stream."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge.wire.sse import BOM, Decoder, Event, TooLong, encode, split

LINE_ENDS = (b"\n", b"\r\n", b"\r")
LINES = st.sampled_from(
    (
        b"data: {}",
        b"data:no blank",
        b"data",
        b"data: ",
        "data: ein schöner Tag 🌞 漢字".encode(),
        b": comment",
        b":",
        b"event: ping",
        b"id: 7",
        b"unknown",
        b"",
    )
)
STREAMS = st.lists(st.tuples(LINES, st.sampled_from(LINE_ENDS)), max_size=12).map(
    lambda lines: b"".join(line + end for line, end in lines)
)
NOISE = st.lists(st.sampled_from((b"\r", b"\n", b"d", b":", b" ", BOM, b"data")), max_size=16).map(b"".join)


def _decoded(*chunks: bytes) -> list[Event]:
    decoder = Decoder()
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    return events + decoder.finish()


def _chopped(stream: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    return [stream[begin:end] for begin, end in itertools.pairwise(places)]


@given(STREAMS | NOISE, st.lists(st.integers(0, 500), max_size=12))
def test_any_chopping_gives_the_same_events(stream: bytes, cuts: list[int]) -> None:
    assert _decoded(*_chopped(stream, cuts)) == _decoded(stream)


@given(STREAMS | NOISE)
def test_byte_by_byte_gives_the_same_events(stream: bytes) -> None:
    assert _decoded(*(stream[at : at + 1] for at in range(len(stream)))) == _decoded(stream)


@given(STREAMS | NOISE, st.lists(st.integers(0, 500), max_size=12))
def test_a_block_is_the_same_events_in_one_piece(stream: bytes, cuts: list[int]) -> None:
    events, blocks = Decoder(), Decoder()
    for chunk in _chopped(stream, cuts):
        block = blocks.block(chunk)
        assert split(block) == events.feed(chunk)
        assert b"".join(event.raw for event in split(block)) == block


@given(STREAMS | NOISE, st.lists(st.integers(0, 500), max_size=12))
def test_the_raw_bytes_are_the_stream_with_its_last_blank_line_completed(
    stream: bytes, cuts: list[int]
) -> None:
    together = b"".join(event.raw for event in _decoded(*_chopped(stream, cuts)))
    assert together in (stream, stream + b"\n", stream + b"\n\n")


@given(st.lists(st.binary(max_size=20).filter(lambda data: b"\r" not in data), min_size=1, max_size=5))
def test_what_was_encoded_is_decoded(texts: list[bytes]) -> None:
    events = _decoded(b"".join(encode(text, b"note") for text in texts))
    assert [event.data for event in events] == texts
    assert {event.name for event in events} == {b"note"}


@pytest.mark.parametrize("end", LINE_ENDS)
def test_every_line_end_ends_lines_and_events(end: bytes) -> None:
    stream = end.join((b"event: one", b"data: 1", b"", b"data: 2", b"", b""))
    first, second = _decoded(stream)
    assert (first.name, first.data, second.name, second.data) == (b"one", b"1", None, b"2")


def test_an_event_is_given_as_soon_as_it_is_whole() -> None:
    decoder = Decoder()
    assert decoder.feed(b"data: 1\n") == []
    assert [event.data for event in decoder.feed(b"\ndata: 2")] == [b"1"]
    assert [event.data for event in decoder.feed(b"\n\n")] == [b"2"]


def test_a_line_feed_that_comes_late_belongs_to_its_carriage_return() -> None:
    decoder = Decoder()
    assert decoder.feed(b"data: 1\r\n\r") == []
    assert [event.raw for event in decoder.feed(b"\ndata: 2\r\n\r\n")] == [
        b"data: 1\r\n\r\n",
        b"data: 2\r\n\r\n",
    ]


def test_a_cut_inside_a_character_harms_nothing() -> None:
    text = "schön 🌞"
    stream = b"data: " + text.encode() + b"\n\n"
    for at in range(len(stream)):
        [event] = _decoded(stream[:at], stream[at:])
        assert (event.data or b"").decode() == text


def test_several_data_lines_are_joined_by_line_feeds() -> None:
    [event] = _decoded(b"data: a\r\ndata:\r\ndata:  b\r\n\r\n")
    assert event.data == b"a\n\n b"


def test_only_one_blank_after_the_colon_is_syntax() -> None:
    bare, blank, two = _decoded(b"data:x\n\ndata: x\n\ndata:  x\n\n")
    assert (bare.data, blank.data, two.data) == (b"x", b"x", b" x")


def test_a_comment_has_no_data() -> None:
    comment, event = _decoded(b": keep-alive\n\n: note\ndata: 1\n\n")
    assert (comment.data, comment.comment_only) == (None, True)
    assert (event.data, event.comment_only) == (b"1", False)


def test_a_byte_order_mark_is_no_part_of_the_first_field() -> None:
    [event] = _decoded(BOM + b"data: 1\n\n")
    assert (event.data, event.raw) == (b"1", BOM + b"data: 1\n\n")
    [comment] = _decoded(BOM + b": hello\n\n")
    assert comment.comment_only


@pytest.mark.parametrize("tail", [b"", b"\n", b"\r\n", b"\r"])
def test_the_last_event_counts_without_its_blank_line(tail: bytes) -> None:
    *_, last = _decoded(b"data: 1\n\ndata: [DONE]" + tail)
    assert last.data == b"[DONE]"
    assert _decoded(last.raw) == [last], "its raw bytes are a whole event"


def test_other_fields_are_not_data() -> None:
    [event] = _decoded(b"database: 1\nid: 2\n\n")
    assert (event.data, event.name, event.comment_only) == (None, None, False)


def test_an_empty_stream_has_no_events() -> None:
    assert _decoded() == []


def test_an_event_that_never_ends_is_refused() -> None:
    decoder = Decoder(longest=10)
    assert decoder.feed(b"data: 123\n\n" * 5)
    decoder.feed(b"data: 1234")
    with pytest.raises(TooLong):
        decoder.feed(b"5")
