"""What the client is told when an upstream is slow, silent, or breaks off."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.bridged import bridged, configuration
from tests.support.raw import (
    COMPLETION,
    STREAM_HEAD,
    Got,
    Talk,
    ask,
    piece,
    raw_upstream,
    said,
    whole,
)

BEGUN = said("Hel", role="assistant")
Answer = Callable[[Talk], None]


def _then_silence(*begun: bytes) -> Answer:
    def answer(talk: Talk) -> None:
        talk.send(*begun)
        talk.await_leaving()

    return answer


def _then_hang_up(*begun: bytes) -> Answer:
    def answer(talk: Talk) -> None:
        talk.send(*begun)
        talk.hang_up()

    return answer


def _got(folder: Path, answer: Answer, *, streamed: bool, **clocks: str) -> tuple[Got, dict[str, Any]]:
    """The answer to one question, and its record."""
    with raw_upstream(answer) as upstream:
        config = configuration(folder, upstream.base_url)
        config["upstreams"]["up"] |= clocks
        with bridged(folder, config) as bridge:
            return ask(bridge.port, stream=streamed), bridge.ended()


def _last_error(got: Got) -> dict[str, Any]:
    """The error event that ends a stream after its first event."""
    assert got.status == 200 and got.body.startswith(BEGUN) and b"[DONE]" not in got.body
    last = got.body.removesuffix(b"\n\n").rpartition(b"\n\n")[2]
    error: dict[str, Any] = json.loads(last.removeprefix(b"data: "))["error"]
    return error


@pytest.mark.parametrize("streamed", [True, False])
def test_no_status_within_the_first_byte_timeout_is_504(tmp_path: Path, streamed: bool) -> None:
    got, row = _got(tmp_path, _then_silence(), streamed=streamed, first_byte_timeout="150ms")
    assert (got.status, got.error["code"]) == (504, "upstream_timeout")
    assert "first_byte_timeout" in got.error["message"] and "'up'" in got.error["message"]
    assert (row["status"], row["http_status"], row["error_code"]) == ("failed", 504, "upstream_timeout")


def test_a_body_that_falls_silent_is_504(tmp_path: Path) -> None:
    answer = _then_silence(whole(COMPLETION)[:-9])
    got, row = _got(tmp_path, answer, streamed=False, idle_timeout="150ms")
    assert (got.status, got.error["code"]) == (504, "upstream_timeout")
    assert "idle_timeout" in got.error["message"]
    assert (row["status"], row["error_code"]) == ("failed", "upstream_timeout")


def test_a_stream_that_never_begins_is_504(tmp_path: Path) -> None:
    got, _ = _got(tmp_path, _then_silence(STREAM_HEAD), streamed=True, idle_timeout="150ms")
    assert (got.status, got.error["code"]) == (504, "upstream_timeout")
    assert "idle_timeout" in got.error["message"]


def test_a_stream_that_falls_silent_ends_in_an_error(tmp_path: Path) -> None:
    answer = _then_silence(STREAM_HEAD, piece(BEGUN))
    got, row = _got(tmp_path, answer, streamed=True, idle_timeout="150ms")
    error = _last_error(got)
    assert error["code"] == "upstream_timeout" and "idle_timeout" in error["message"]
    assert (row["status"], row["http_status"], row["error_code"]) == ("failed", 200, "upstream_timeout")


@pytest.mark.parametrize("rest", [b"", piece(b"data: {"), piece(said("lo")[:30])])
def test_a_stream_that_is_cut_ends_in_an_error(tmp_path: Path, rest: bytes) -> None:
    got, row = _got(tmp_path, _then_hang_up(STREAM_HEAD, piece(BEGUN), rest), streamed=True)
    error = _last_error(got)
    assert error["code"] == "upstream_invalid_response" and "broke the connection" in error["message"]
    assert (row["status"], row["error_code"]) == ("failed", "upstream_invalid_response")


@pytest.mark.parametrize("ended", [piece(b""), b""])
def test_a_stream_without_a_finish_ends_in_an_error(tmp_path: Path, ended: bytes) -> None:
    got, _ = _got(tmp_path, _then_hang_up(STREAM_HEAD, piece(BEGUN), ended), streamed=True)
    assert _last_error(got)["code"] == "upstream_invalid_response"


def test_a_body_that_is_cut_is_502(tmp_path: Path) -> None:
    got, _ = _got(tmp_path, _then_hang_up(whole(COMPLETION)[:-9]), streamed=False)
    assert (got.status, got.error["code"]) == (502, "upstream_invalid_response")
    assert "broke the connection" in got.error["message"]


@pytest.mark.parametrize(
    ("answer", "streamed"),
    [
        (STREAM_HEAD + piece(b""), True),
        (whole(b""), False),
        (whole(b"{}", headers=[("content-type", "text/html")]), False),
        (whole(b"<html>", headers=[("content-type", "text/html")]), True),
        (whole(COMPLETION), True),
        (whole(b'{"choices": [', "200 OK"), False),
        (whole(b"[]"), False),
        (whole(b"", "204 No Content"), False),
        (whole(b"", "302 Found", [("location", "/elsewhere")]), True),
    ],
)
def test_an_answer_that_is_none_is_502(tmp_path: Path, answer: bytes, streamed: bool) -> None:
    got, row = _got(tmp_path, lambda talk: talk.send(answer), streamed=streamed)
    assert (got.status, got.error["code"]) == (502, "upstream_invalid_response")
    assert "upstream 'up'" in got.error["message"]
    assert (row["status"], row["http_status"]) == ("failed", 502)


def test_a_slow_answer_within_its_clocks_is_whole(tmp_path: Path) -> None:
    got, _ = _got(tmp_path, lambda talk: talk.send(whole(COMPLETION)), streamed=False, idle_timeout="20s")
    assert (got.status, got.body) == (200, COMPLETION)
