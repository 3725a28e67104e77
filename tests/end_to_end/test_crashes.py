"""kill -9: what a client saw whole is in the records as completed, what was cut is there as interrupted."""

import http.client
import json
import os
from pathlib import Path

import pytest

from tests.support.bridge import Bridge
from tests.support.gates import Gate
from tests.support.raw import (
    COMPLETION,
    DONE,
    JSON_TYPE,
    STREAM,
    STREAM_HEAD,
    RawUpstream,
    Talk,
    ask,
    connection,
    piece,
    raw_upstream,
    request,
)
from tests.support.serving import Model

TIMES = 24 if os.environ.get("AIBRIDGE_SOAK") else 4


def _bridge(folder: Path, base_url: str) -> Bridge:
    folder.mkdir(exist_ok=True)
    return Bridge(folder, {"upstreams": {"up": {"base_url": base_url}}})


def _kill_at_the_end(bridge: Bridge, *, streamed: bool, said: str) -> None:
    """Kill it at the very byte that completes the answer."""
    body = {"model": "m-1", "messages": [{"role": "user", "content": said}], "stream": streamed}
    with connection(bridge.port) as client:
        client.sendall(request(bridge.port, json.dumps(body).encode(), [JSON_TYPE]))
        with http.client.HTTPResponse(client) as response:
            response.begin()
            if streamed:
                while response.readline() != DONE.strip() + b"\n":
                    assert not response.isclosed(), "it ended too soon"
            else:
                assert json.loads(response.read())["choices"]
            bridge.kill()


@pytest.mark.timeout(900)  # it starts TIMES times
def test_an_answer_seen_whole_is_completed_however_soon_the_kill(model: Model, tmp_path: Path) -> None:
    bridge = _bridge(tmp_path, model.base_url)
    for number in range(TIMES):
        bridge.start()
        try:
            _kill_at_the_end(bridge, streamed=number % 2 == 0, said=f"count {1 + number * 21}")
        finally:
            bridge.program.stop()
        if number == 0:
            told = bridge.records()
            assert told["status"] == "completed", "the command alone folds what was left"
    bridge.start()
    bridge.stop()
    rows = bridge.rows("exchanges")
    assert [row["status"] for row in rows] == ["completed"] * TIMES
    assert [row["http_status"] for row in rows] == [200] * TIMES
    assert len(bridge.rows("token_usages")) == TIMES


def test_an_answer_that_was_cut_is_interrupted(tmp_path: Path) -> None:
    def half(talk: Talk) -> None:
        talk.send(STREAM_HEAD, piece(STREAM[: STREAM.index(b"\n\n") + 2]))
        gate.pass_through()

    with Gate() as gate, raw_upstream(half) as upstream, _bridge(tmp_path, upstream.base_url) as bridge:
        with connection(bridge.port) as client:
            question = b'{"model": "m-1", "messages": [], "stream": true}'
            client.sendall(request(bridge.port, question, [JSON_TYPE]))
            assert b"200 OK" in client.recv(100)
            bridge.kill()
        assert bridge.records()["status"] == "interrupted"
        bridge.start()
        [row] = bridge.rows("exchanges")
        assert (row["status"], row["streamed"]) == ("interrupted", 1)
        _answers_again(bridge, upstream)


def _answers_again(bridge: Bridge, upstream: RawUpstream) -> None:
    upstream.answer = _say_hello
    got = ask(bridge.port)
    assert got.body == COMPLETION
    assert bridge.ended(got.header("x-aibridge-exchange-id"))["status"] == "completed"


def _say_hello(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")
    talk.send(f"content-length: {len(COMPLETION)}\r\n\r\n".encode(), COMPLETION)
