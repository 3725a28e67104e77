"""Over real sockets: what a fault or a client that leaves must not leave behind is counted."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bridge.saying import Said, Turn, completion, events
from tests.support.bridged import Bridged, bridged, configuration
from tests.support.raw import (
    STREAM_HEAD,
    RawUpstream,
    Talk,
    asking,
    piece,
    raw_upstream,
    read_response,
    whole,
)
from tests.support.waiting import eventually
from tests.tools.house import House

ECHO = Said("call_inj", "house__echo", '{"text": "x"}')
HANG = Said("call_hang", "house__hang")
HIDDEN = b"".join(events(Turn("Let me see.", (ECHO,))))
HANGING = b"".join(events(Turn("", (ECHO, HANG))))


def _play(upstream: RawUpstream, *rounds: bytes) -> None:
    """Answer each round with bytes; after the last one, hang up."""

    def answer(talk: Talk) -> None:
        said = rounds[min(talk.number, len(rounds) - 1)]
        talk.send(said)
        if talk.number >= len(rounds) - 1:
            talk.hang_up()

    upstream.answer = answer


def _streamed(data: bytes, *, ended: bool = True) -> bytes:
    return STREAM_HEAD + piece(data) + (piece(b"") if ended else b"")


@pytest.fixture
def upstream() -> Iterator[RawUpstream]:
    with raw_upstream(lambda talk: talk.hang_up()) as upstream:
        yield upstream


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
def bridge(upstream: RawUpstream, house: House, tmp_path: Path) -> Iterator[Bridged]:
    config = configuration(tmp_path, upstream.base_url)
    with bridged(tmp_path, config, {"house": house.server}) as bridge:
        yield bridge


CUTS = {
    "before the call": _streamed(HIDDEN[: HIDDEN.index(b"Let me")], ended=False),
    "inside the call": _streamed(HIDDEN[: HIDDEN.index(b"house__echo") + 40], ended=False),
    "after the call": _streamed(HIDDEN[: HIDDEN.index(b'"finish_reason": "tool_calls"')], ended=False),
}


@pytest.mark.parametrize("where", CUTS)
@pytest.mark.parametrize("earlier", [0, 1])
def test_an_upstream_that_hangs_up_is_an_error_event_in_a_whole_response(
    bridge: Bridged, upstream: RawUpstream, where: str, earlier: int
) -> None:
    before = bridge.tasks()
    _play(upstream, *[_streamed(HIDDEN)] * earlier, CUTS[where])
    with asking(bridge.port, stream=True) as client:
        got = read_response(client)  # raises where the response itself is cut
    assert got.status == 200
    assert got.body.split(b"\n\n")[-2].startswith(b'data: {"error":')
    assert b"house__" not in got.body
    row = bridge.ended()
    assert (row["status"], row["error_code"]) == ("failed", "upstream_invalid_response")
    assert len(bridge.rows("tool_calls")) == earlier
    eventually(lambda: bridge.tasks() == before, what="the end of all tasks of the exchange")


def test_an_upstream_that_hangs_up_after_tools_ran_is_not_asked_again(
    bridge: Bridged, upstream: RawUpstream
) -> None:
    cut = whole(completion(Turn("Noon.")))[:-20]
    _play(upstream, whole(completion(Turn("", (ECHO,)))), cut)
    with asking(bridge.port) as client:
        got = read_response(client)
    assert got.status == 502
    assert got.header("x-should-retry") == "false"
    assert len(upstream.heard) == 2


@pytest.mark.parametrize("streamed", [True, False])
def test_a_client_that_leaves_a_hanging_tool_cancels_it_and_frees_every_socket(
    bridge: Bridged, upstream: RawUpstream, house: House, streamed: bool
) -> None:
    before = bridge.tasks()
    body = _streamed(HANGING) if streamed else whole(completion(Turn("", (ECHO, HANG))))
    _play(upstream, body)
    with asking(bridge.port, stream=streamed):
        eventually(lambda: house.notes["hang began"], what="the call")
    eventually(lambda: house.notes["hang cancelled"], what="the end of the call")
    row = bridge.ended()
    assert (row["status"], row["rounds"]) == ("cancelled", 1)
    told = {each["tool"]: each["status"] for each in bridge.rows("tool_calls")}
    assert told == {"echo": "ok", "hang": "cancelled"}
    eventually(lambda: bridge.tasks() == before, what="the end of all tasks of the exchange")
