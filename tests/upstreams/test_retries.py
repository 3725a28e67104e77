"""A request is sent again until the first byte of a round's answer, and never after it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.bridge.clock import Clock
from tests.support.bridged import Bridged, Json
from tests.support.raw import (
    COMPLETION,
    DONE,
    STREAM,
    STREAM_HEAD,
    RawUpstream,
    Talk,
    ask,
    connection,
    piece,
    request,
    said,
    send,
    whole,
)
from tests.support.waiting import eventually
from tests.upstreams.scripted import (
    CALLS,
    Step,
    attempts_of,
    bridged_before,
    cut_before_the_first_byte,
    empty,
    hang_up,
    plainly,
    refusal,
    script,
)

WITH_USAGE: Json = {"stream_options": {"include_usage": True}}


@contextmanager
def playing(
    folder: Path, *steps: Step, clock: Clock | None = None, **keys: Any
) -> Iterator[tuple[Bridged, RawUpstream]]:
    """A bridge before an upstream that plays `steps`."""
    with bridged_before(folder, script(*steps), {"time": clock.server} if clock else None, **keys) as both:
        yield both


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize(
    ("steps", "codes"),
    [
        ((refusal(500), refusal(503)), ["500", "503"]),
        ((refusal(429, retry_after_ms="20"),), ["429"]),
        ((refusal(429, retry_after="Wed, 21 Oct 99999999999 07:28:00 GMT"),), ["429"]),
        ((refusal(408), refusal(409)), ["408", "409"]),
        ((hang_up,), ["closed"]),
        ((refusal(400, x_should_retry="true"),), ["400"]),
    ],
)
def test_a_failure_before_the_answer_is_not_noticed(
    tmp_path: Path, steps: tuple[Step, ...], codes: list[str], streamed: bool
) -> None:
    with playing(tmp_path, *steps, plainly) as (bridge, upstream):
        got = ask(bridge.port, stream=streamed, **WITH_USAGE if streamed else {})
        row, told = bridge.ended(), bridge.rows("failed_attempts")
    assert (got.status, got.body) == (200, STREAM if streamed else COMPLETION)
    assert attempts_of(told) == [("up", code, True) for code in codes]
    assert (row["status"], row["attempts"]) == ("completed", len(steps) + 1)
    assert len({heard.body for heard in upstream.heard}) == 1


@pytest.mark.parametrize("step", [cut_before_the_first_byte, empty])
def test_an_answer_without_a_first_byte_is_asked_for_again(tmp_path: Path, step: Step) -> None:
    with playing(tmp_path, step, step, plainly) as (bridge, _):
        assert ask(bridge.port, stream=True, **WITH_USAGE).body == STREAM
        assert [row["again_in_ms"] is not None for row in bridge.rows("failed_attempts")] == [True, True]


def test_after_the_first_byte_nothing_is_sent_again(tmp_path: Path) -> None:
    def cut(talk: Talk) -> None:
        talk.send(STREAM_HEAD, piece(said("Hel", role="assistant")))
        talk.hang_up()

    with playing(tmp_path, cut, plainly) as (bridge, upstream):
        got = ask(bridge.port, stream=True)
        assert b"upstream_invalid_response" in got.body and len(upstream.heard) == 1
        assert bridge.rows("failed_attempts") == []


@pytest.mark.parametrize(
    "step",
    [
        refusal(429, retry_after="30"),
        refusal(503, retry_after="Fri, 31 Dec 2100 23:59:59 GMT"),
        refusal(429, retry_after="1e300"),
        refusal(500, x_should_retry="false"),
        refusal(400),
        refusal(404),
    ],
)
def test_what_is_not_worth_a_retry_or_a_wait_is_the_clients_as_it_is(tmp_path: Path, step: bytes) -> None:
    with playing(tmp_path, step, plainly) as (bridge, upstream):
        got = ask(bridge.port)
        head, _, body = step.partition(b"\r\n\r\n")
        assert f"HTTP/1.1 {got.status} ".encode() in head and got.body == body
        for name in ("retry-after", "x-should-retry"):
            assert (got.header(name) or "").encode() in head
        assert len(upstream.heard) == 1
        row = bridge.ended()
        assert (row["attempts"], row["error_code"]) == (1, f"upstream_{got.status}")


def test_when_all_retries_fail_the_last_refusal_is_the_clients(tmp_path: Path) -> None:
    with playing(tmp_path, refusal(500, "one"), refusal(500, "two"), refusal(502, "three")) as (bridge, up):
        got = ask(bridge.port)
        assert (got.status, got.error["message"], len(up.heard)) == (502, "three", 3)
        assert attempts_of(bridge.rows("failed_attempts"))[-1] == ("up", "502", False)


def test_without_retries_nothing_is_sent_again(tmp_path: Path) -> None:
    with playing(tmp_path, refusal(500), plainly, retries=0) as (bridge, upstream):
        assert ask(bridge.port).status == 500
        assert len(upstream.heard) == 1


@pytest.mark.parametrize("step", [refusal(429, retry_after="1"), refusal(500), cut_before_the_first_byte])
def test_a_failure_after_tools_ran_does_not_lose_their_work(tmp_path: Path, step: Step) -> None:
    clock = Clock()
    with playing(tmp_path, CALLS, step, plainly, clock=clock) as (bridge, upstream):
        got = ask(bridge.port, stream=True)
        [failed] = bridge.rows("failed_attempts")
        row = bridge.ended()
    assert got.status == 200 and b"Hel" in got.body and got.body.endswith(DONE)
    assert clock.answered["now"] == 1, "the tool ran once"
    assert upstream.heard[1].body == upstream.heard[2].body
    assert (failed["round"], row["rounds"], row["attempts"]) == (2, 2, 3)


def test_a_long_wait_after_tools_ran_is_told_as_it_is(tmp_path: Path) -> None:
    clock = Clock()
    with playing(tmp_path, CALLS, refusal(429, "slow down", retry_after="30"), clock=clock) as (bridge, _):
        got = ask(bridge.port, stream=True)
    assert b"slow down" in got.body and DONE not in got.body


def test_a_request_that_is_passed_through_is_sent_again_too(tmp_path: Path) -> None:
    good = whole(b'{"object": "list"}')
    with playing(tmp_path, hang_up, refusal(503), good) as (bridge, upstream):
        got = send(bridge.port, b'{"model": "e-1", "input": "x"}', path="/v1/embeddings")
        assert (got.status, got.body, len(upstream.heard)) == (200, b'{"object": "list"}', 3)
        assert attempts_of(bridge.rows("failed_attempts")) == [("up", "closed", True), ("up", "503", True)]


def test_the_last_refusal_of_a_request_that_is_passed_through_is_untouched(tmp_path: Path) -> None:
    with playing(tmp_path, refusal(500, "its own words", x_custom="1"), retries=1) as (bridge, upstream):
        got = send(bridge.port, b'{"model": "e-1"}', path="/v1/embeddings")
        assert (got.status, got.json["error"]["message"], got.header("x-custom")) == (
            500, "its own words", "1",
        )  # fmt: skip
        assert len(upstream.heard) == 2


def test_an_upload_that_is_sent_on_as_it_comes_cannot_be_sent_again(tmp_path: Path) -> None:
    with playing(tmp_path, refusal(500), whole(b"{}")) as (bridge, upstream):
        got = send(bridge.port, b"x" * 10_000, [("content-type", "audio/wav")], path="/v1/files")
        assert (got.status, len(upstream.heard)) == (500, 1)


def test_a_failing_upstream_is_not_hammered(tmp_path: Path) -> None:
    wait = refusal(500, retry_after_ms="1")
    with playing(tmp_path, wait, breaker="off") as (bridge, upstream):
        for _ in range(30):
            assert ask(bridge.port).status == 500
        retries = len(upstream.heard) - 30
    assert 10 <= retries <= 10 + 30 * 0.2 + 2, "what was saved up, and a fifth of the requests"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings"])
def test_a_client_that_leaves_during_a_wait_ends_it(tmp_path: Path, path: str) -> None:
    with playing(tmp_path, refusal(429, retry_after="4"), plainly) as (bridge, upstream):
        with connection(bridge.port) as client:
            client.sendall(request(bridge.port, b'{"model": "m-1", "messages": []}', path=path))
            eventually(lambda: bridge.rows("failed_attempts"), what="the first attempt's end")
        row, [failed] = bridge.ended(), bridge.rows("failed_attempts")
        assert (row["status"], len(upstream.heard)) == ("cancelled", 1)
        assert (row["attempts"], failed["again_in_ms"]) == (1, 4000), "what was planned was never sent"


ODD = [
    pytest.param(b'{"model": "m-1", "messages": []}', "/v1/chat/completions", id="bridged"),
    pytest.param(b'{"model": "m-1", "input": "x"}', "/v1/embeddings", id="passed through"),
]


@pytest.mark.parametrize(("body", "path"), ODD)
@pytest.mark.parametrize("status", [600, 999])
def test_a_status_that_is_none_is_502_and_not_asked_for_again(
    tmp_path: Path, status: int, body: bytes, path: str
) -> None:
    with playing(tmp_path, refusal(status), plainly) as (bridge, upstream):
        got = send(bridge.port, body, path=path)
        row, told = bridge.ended(), bridge.rows("failed_attempts")
    assert (got.status, got.error["code"], len(upstream.heard)) == (502, "upstream_invalid_response", 1)
    assert f"upstream 'up' answered {status}, which is no HTTP status" in got.error["message"]
    assert (row["status"], row["http_status"]) == ("failed", 502)
    assert attempts_of(told) == [("up", "invalid", False)]


@pytest.mark.parametrize(("body", "path"), ODD)
@pytest.mark.parametrize("status", [418, 499, 520, 529, 599])
def test_an_unusual_status_is_the_clients_as_it_is(
    tmp_path: Path, status: int, body: bytes, path: str
) -> None:
    with playing(tmp_path, refusal(status, "its own words"), retries=0) as (bridge, _):
        got = send(bridge.port, body, path=path)
        assert (got.status, got.json["error"]["message"]) == (status, "its own words")
        assert bridge.ended()["error_code"] == f"upstream_{status}"
