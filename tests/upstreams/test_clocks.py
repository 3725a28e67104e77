"""What the client is told when an upstream is slow, silent, or breaks off."""

import json
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.bridged import bridged, configuration
from tests.support.raw import (
    COMPLETION,
    DONE,
    STREAM_HEAD,
    Got,
    Talk,
    ask,
    connection,
    piece,
    raw_upstream,
    read_response,
    request,
    said,
    send,
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


def _in_pieces(pause: float, pieces: int) -> Answer:
    def answer(talk: Talk) -> None:
        talk.send(STREAM_HEAD, piece(BEGUN))
        for _ in range(pieces):
            time.sleep(pause)  # the upstream's own pace
            talk.send(piece(said("lo")))
        talk.send(piece(said(None, "stop") + DONE), piece(b""))

    return answer


@pytest.mark.parametrize("clock", ["connect_timeout", "first_byte_timeout", "idle_timeout"])
def test_a_stream_that_lasts_longer_than_a_clock_is_whole(tmp_path: Path, clock: str) -> None:
    got, row = _got(tmp_path, _in_pieces(0.05, 12), streamed=True, **{clock: "400ms"})
    assert got.body.count(b'"lo"') == 12 and got.body.endswith(DONE)
    assert row["status"] == "completed"


def test_a_stream_that_lasts_longer_than_the_deadline_is_whole(tmp_path: Path) -> None:
    with raw_upstream(_in_pieces(0.05, 5)) as upstream:
        config = configuration(tmp_path, upstream.base_url, bridge={"deadline": "100ms"})
        with bridged(tmp_path, config) as bridge:
            assert ask(bridge.port, stream=True).body.endswith(DONE)


def test_a_connection_that_nobody_takes_is_504(tmp_path: Path) -> None:
    """A listener whose queue is full: the kernel lets further connections wait."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, ExitStack() as queue:
        port = listener.getsockname()[1]
        for _ in range(8):
            waiting = queue.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        config = configuration(tmp_path, f"http://127.0.0.1:{port}/v1")
        config["upstreams"]["up"] |= {"connect_timeout": "150ms", "retries": 1}
        with bridged(tmp_path, config) as bridge:
            got = ask(bridge.port)
            codes = [row["code"] for row in bridge.rows("failed_attempts")]
    assert (got.status, got.error["code"]) == (504, "upstream_timeout")
    assert "connect_timeout" in got.error["message"]
    assert codes == ["connect_timeout"] * 2, "another connection may be taken, so it is tried"


@pytest.mark.parametrize("begun", [b"", STREAM_HEAD])
def test_a_clock_that_ran_out_is_not_wound_up_again(tmp_path: Path, begun: bytes) -> None:
    clocks = {"first_byte_timeout": "150ms", "idle_timeout": "150ms"}
    with raw_upstream(_then_silence(begun)) as upstream:
        config = configuration(tmp_path, upstream.base_url)
        config["upstreams"]["up"] |= clocks
        with bridged(tmp_path, config) as bridge:
            assert ask(bridge.port, stream=True).status == 504
    assert len(upstream.heard) == 1


WAYS = pytest.mark.parametrize("proxied", [False, True], ids=["straight", "by a proxy"])


def _ways(port: int, proxied: bool) -> dict[str, str]:
    return {"proxy": f"http://127.0.0.1:{port}"} if proxied else {}


@WAYS
def test_an_upstream_that_takes_nothing_of_the_request_is_504_and_its_clock_named(
    tmp_path: Path, proxied: bool
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        port = deaf.getsockname()[1]
        config = configuration(tmp_path, f"http://127.0.0.1:{port}/v1")
        config["upstreams"]["up"] |= {"idle_timeout": "150ms", **_ways(port, proxied)}
        with bridged(tmp_path, config) as bridge:
            got = ask(bridge.port, messages=[{"role": "user", "content": "x" * 24_000_000}])
            codes = [row["code"] for row in bridge.rows("failed_attempts")]
    assert (got.status, got.error["code"]) == (504, "upstream_timeout")
    assert "took nothing of the request within its idle_timeout" in got.error["message"]
    assert codes == ["idle_timeout"]


@WAYS
def test_an_upload_that_lasts_longer_than_the_first_byte_timeout_is_whole(
    tmp_path: Path, proxied: bool
) -> None:
    with raw_upstream(lambda talk: talk.send(whole(b"%d" % len(talk.heard.body)))) as upstream:
        config = configuration(tmp_path, upstream.base_url)
        config["upstreams"]["up"] |= {"first_byte_timeout": "400ms", **_ways(upstream.port, proxied)}
        with bridged(tmp_path, config) as bridge, connection(bridge.port) as client:
            headers = [("content-type", "audio/wav"), ("content-length", "1200")]
            client.sendall(request(bridge.port, b"", headers, path="/v1/files", length=False))
            for _ in range(12):
                client.sendall(b"x" * 100)
                time.sleep(0.05)  # the client's own pace
            got = read_response(client)
    assert (got.status, got.body) == (200, b"1200")


@WAYS
def test_no_status_after_an_upload_is_504(tmp_path: Path, proxied: bool) -> None:
    with raw_upstream(_then_silence()) as upstream:
        config = configuration(tmp_path, upstream.base_url)
        config["upstreams"]["up"] |= {"first_byte_timeout": "150ms", **_ways(upstream.port, proxied)}
        with bridged(tmp_path, config) as bridge:
            got = send(bridge.port, b"x" * 1000, [("content-type", "audio/wav")], path="/v1/files")
    assert (got.status, got.error["code"]) == (504, "upstream_timeout")
    assert "first_byte_timeout" in got.error["message"]


def test_the_rest_of_an_upload_may_follow_its_answer(tmp_path: Path) -> None:
    """The clock of the first byte has ended by then, and is not wound up again."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = configuration(tmp_path, f"http://127.0.0.1:{listener.getsockname()[1]}/v1")
        with bridged(tmp_path, config) as bridge, connection(bridge.port) as client:
            headers = [("content-type", "audio/wav"), ("content-length", "10")]
            client.sendall(request(bridge.port, b"begin", headers, path="/v1/files", length=False))
            upstream, _ = listener.accept()
            with upstream, upstream.makefile("rb") as stream:
                while stream.readline().strip():
                    pass
                assert stream.read(5) == b"begin"
                upstream.sendall(whole(b"early and late")[:-5])
                assert client.recv(1)  # the answer has begun
                client.sendall(b"after")
                assert stream.read(5) == b"after"
                upstream.sendall(b" late")
                while not client.recv(1 << 16).endswith(b"late"):
                    pass
            assert bridge.ended()["status"] == "completed"
