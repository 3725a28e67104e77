"""A client that leaves stops the work, whatever it is, and the record says so."""

import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from tests.support.bridged import Bridged, bridged, configuration
from tests.support.raw import (
    COMPLETION,
    STREAM_HEAD,
    USAGE,
    RawUpstream,
    Talk,
    ask,
    asking,
    calling,
    event,
    piece,
    said,
    whole,
)
from tests.support.waiting import eventually
from tests.tools.house import House


@pytest.fixture
def house() -> House:
    """The server of a tool that never answers."""
    return House()


@pytest.fixture
def tooled(upstream: RawUpstream, house: House, tmp_path: Path) -> Iterator[Bridged]:
    """A bridge of this test's own, with that tool."""
    config = configuration(tmp_path, upstream.base_url)
    with bridged(tmp_path, config, {"house": house.server}) as bridge:
        yield bridge


class _Watched:
    """An answer that waits for the bridge to close the connection after it sent `begun`."""

    def __init__(self, *begun: bytes) -> None:
        self._begun = begun
        self.asked, self.left = threading.Event(), threading.Event()

    def __call__(self, talk: Talk) -> None:
        talk.send(*self._begun)
        self.asked.set()
        talk.await_leaving()
        self.left.set()


def _assert_idle(bridge: Bridged, before: list[str]) -> None:
    eventually(lambda: bridge.tasks() == before, what="the end of all tasks of the exchange")


BEGUN = STREAM_HEAD + piece(said("Hel", role="assistant"))
HALF = whole(COMPLETION)[:-20]


@pytest.mark.parametrize(
    ("begun", "streamed"), [(BEGUN, True), (STREAM_HEAD, True), (b"", True), (b"", False), (HALF, False)]
)
def test_a_client_that_leaves_closes_the_upstreams_connection(
    tooled: Bridged, upstream: RawUpstream, begun: bytes, streamed: bool
) -> None:
    before = tooled.tasks()
    upstream.answer = answer = _Watched(begun)
    with asking(tooled.port, stream=streamed) as client:
        assert answer.asked.wait(10)
        if begun == BEGUN:
            assert b"200 OK" in client.recv(100)
    assert answer.left.wait(10), "the upstream goes on for nobody"
    row = tooled.ended()
    assert (row["status"], row["rounds"]) == ("cancelled", 1)
    assert row["http_status"] == (200 if begun == BEGUN else 499)
    _assert_idle(tooled, before)


def test_a_client_that_leaves_a_stream_that_has_run_for_a_while_closes_it_too(
    upstream: RawUpstream, tmp_path: Path
) -> None:
    config = configuration(tmp_path, upstream.base_url, bridge={"heartbeat": "100ms"})
    upstream.answer = answer = _Watched(BEGUN)
    with bridged(tmp_path, config) as bridge:
        before = bridge.tasks()
        with asking(bridge.port, stream=True) as client, client.makefile("rb") as lines:
            assert sum(b"keep-alive" in line for line in islice(lines, 30)) >= 2
        assert answer.left.wait(10), "the upstream goes on for nobody"
        assert bridge.ended()["status"] == "cancelled"
        _assert_idle(bridge, before)


def test_a_client_that_leaves_while_a_tool_runs_cancels_the_tool(
    tooled: Bridged, upstream: RawUpstream, house: House
) -> None:
    before = tooled.tasks()
    calls = calling("house__hang", more=event(choices=[], usage=USAGE))
    upstream.answer = lambda talk: talk.send(STREAM_HEAD, piece(calls), piece(b""))
    with asking(tooled.port, stream=True):
        eventually(lambda: house.notes["hang began"], what="the call")
    eventually(lambda: house.notes["hang cancelled"], what="the end of the call")
    row = tooled.ended()
    assert (row["status"], row["rounds"]) == ("cancelled", 1)
    [call] = tooled.rows("tool_calls")
    assert (call["tool"], call["status"]) == ("hang", "cancelled")
    [used] = tooled.rows("token_usages")
    assert (used["input"], used["output"]) == (3, 2), "what it used is recorded"
    assert len(upstream.heard) == 1
    _assert_idle(tooled, before)


def test_a_client_that_leaves_in_a_later_round_closes_that_one(
    tooled: Bridged, upstream: RawUpstream
) -> None:
    calls = calling("house__echo", '{"text": "x"}')
    later = _Watched(BEGUN)

    def answer(talk: Talk) -> None:
        if talk.number == 0:
            talk.send(STREAM_HEAD, piece(calls), piece(b""))
        else:
            later(talk)

    upstream.answer = answer
    with asking(tooled.port, stream=True):
        assert later.asked.wait(10)
    assert later.left.wait(10)
    row = tooled.ended()
    assert (row["status"], row["rounds"]) == ("cancelled", 2)


def test_many_clients_that_leave_leave_nothing(tooled: Bridged, upstream: RawUpstream) -> None:
    before = tooled.tasks()
    answers = [_Watched(BEGUN) for _ in range(20)]
    upstream.answer = lambda talk: answers[talk.number](talk)
    for answer in answers:
        with asking(tooled.port, stream=True):
            assert answer.asked.wait(10)
    for answer in answers:
        assert answer.left.wait(10)
    eventually(lambda: all(row["status"] == "cancelled" for row in tooled.rows()), what="all records")
    _assert_idle(tooled, before)


def test_a_client_that_reads_to_the_end_and_leaves_is_no_cancellation(
    tooled: Bridged, upstream: RawUpstream
) -> None:
    before = tooled.tasks()
    for streamed in (True, False):
        assert ask(tooled.port, stream=streamed).status == 200
    assert [row["status"] for row in tooled.rows()] == ["completed", "completed"]
    _assert_idle(tooled, before)
