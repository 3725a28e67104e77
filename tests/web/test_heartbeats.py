"""Silence is filled with whole comments between events, which clients ignore."""

import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import openai
import pytest
from mcp.server.mcpserver import MCPServer

from tests.support.bridged import Bridged, bridged, configuration
from tests.support.gates import Gate
from tests.support.raw import (
    JSON_TYPE,
    STREAM,
    STREAM_HEAD,
    RawUpstream,
    Talk,
    calling,
    connection,
    piece,
    request,
    said,
)
from tests.support.waiting import eventually

BEAT = b": keep-alive\n"
CALLS = calling("house__wait")
QUESTION = {
    "model": "m-1",
    "messages": [{"role": "user", "content": "hi"}],
    "stream": True,
    "stream_options": {"include_usage": True},
}


@pytest.fixture
def gate() -> Iterator[Gate]:
    """What the upstream or the tool waits for."""
    with Gate() as gate:
        yield gate


@pytest.fixture
def beating(upstream: RawUpstream, gate: Gate, tmp_path: Path) -> Iterator[Bridged]:
    """A bridge that beats every 50 ms of silence, and a tool that waits."""
    house = MCPServer("house")
    house.tool(structured_output=False)(gate.wait)
    config = configuration(tmp_path, upstream.base_url, bridge={"heartbeat": "50ms"})
    with bridged(tmp_path, config, {"house": house}) as bridge:
        yield bridge


def _body(bridge: Bridged, gate: Gate, beats: int = 2) -> bytes:
    """The body of a stream; the gate opens after so many heartbeats."""
    lines: list[bytes] = []
    with connection(bridge.port) as client:
        client.sendall(request(bridge.port, json.dumps(QUESTION).encode(), [JSON_TYPE]))
        with http.client.HTTPResponse(client) as response:
            response.begin()
            while line := response.readline():
                lines.append(line)
                if lines.count(BEAT) == beats:
                    gate.open()
    return b"".join(lines)


def _without_beats(body: bytes) -> bytes:
    assert body.count(BEAT) >= 2
    return body.replace(BEAT + b"\n", b"")


@pytest.mark.parametrize("at", [0, 1, len(STREAM) // 2, STREAM.index(b"\n\n") + 1, STREAM.index(b"\n\n") + 2])
def test_a_silent_upstream_is_filled_between_events(
    beating: Bridged, upstream: RawUpstream, gate: Gate, at: int
) -> None:
    def answer(talk: Talk) -> None:
        talk.send(STREAM_HEAD)
        if at:
            talk.send(piece(STREAM[:at]))
        gate.pass_through()
        talk.send(piece(STREAM[at:]), piece(b""))

    upstream.answer = answer
    body = _body(beating, gate)
    assert _without_beats(body) == STREAM
    events = [each for each in body.split(b"\n\n") if each]
    assert all(each == BEAT.strip() or BEAT.strip() not in each for each in events)


def _call_then_stream(talk: Talk) -> None:
    asked_before = any(message["role"] == "tool" for message in talk.heard.json["messages"])
    talk.send(STREAM_HEAD, piece(STREAM if asked_before else CALLS), piece(b""))


def test_a_slow_tool_is_filled_too(beating: Bridged, upstream: RawUpstream, gate: Gate) -> None:
    upstream.answer = _call_then_stream
    body = _without_beats(_body(beating, gate))
    assert b"house__wait" not in body
    assert body.count(b"[DONE]") == 1 and b"Hel" in body
    assert upstream.heard[1].json["messages"][-1]["content"] == "the gate is open"


class _Opens(httpx2.SyncByteStream):
    """Opens the gate once two heartbeats have passed."""

    def __init__(self, stream: httpx2.SyncByteStream, gate: Gate) -> None:
        self._stream, self._gate = stream, gate

    def __iter__(self) -> Iterator[bytes]:
        seen = b""
        for data in self._stream:
            seen += data
            if seen.count(BEAT) >= 2:
                self._gate.open()
            yield data

    def close(self) -> None:
        self._stream.close()


class _Spy(httpx2.HTTPTransport):
    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self._gate = gate

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        response = super().handle_request(request)
        assert isinstance(response.stream, httpx2.SyncByteStream)
        stream = _Opens(response.stream, self._gate)
        return httpx2.Response(response.status_code, headers=response.headers, stream=stream)


def test_the_sdk_reads_on_over_heartbeats(beating: Bridged, upstream: RawUpstream, gate: Gate) -> None:
    upstream.answer = _call_then_stream
    http_client = httpx2.Client(transport=_Spy(gate))
    with openai.OpenAI(base_url=beating.base_url, api_key="x", http_client=http_client) as client:
        chunks = list(
            client.chat.completions.create(
                model="m-1",
                messages=[{"role": "user", "content": "hi"}],
                stream=True,
                stream_options={"include_usage": True},
            )
        )
    assert "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices) == "Hello"
    assert chunks[-1].usage is not None
    assert gate.is_open


def test_a_client_that_does_not_read_gets_no_pile_of_heartbeats(
    beating: Bridged, upstream: RawUpstream
) -> None:
    one = said("x" * 60_000)

    def flood(talk: Talk) -> None:
        talk.send(STREAM_HEAD, *[piece(one)] * 300, piece(STREAM), piece(b""))

    upstream.answer = flood
    with connection(beating.port) as client:
        client.sendall(request(beating.port, json.dumps(QUESTION).encode(), [JSON_TYPE]))
        eventually(lambda: "heartbeat" in beating.tasks(), what="a heartbeat that waits for the client")
        with pytest.raises(AssertionError):
            eventually(lambda: beating.tasks().count("heartbeat") > 1, seconds=0.4)
        with http.client.HTTPResponse(client) as response:
            response.begin()
            body = response.read()
    assert body.replace(BEAT + b"\n", b"") == one * 300 + STREAM


def test_nothing_beats_before_the_status_is_known(
    beating: Bridged, upstream: RawUpstream, gate: Gate
) -> None:
    heard = threading.Event()

    def refuse_late(talk: Talk) -> None:
        heard.set()
        gate.pass_through()
        talk.send(b"HTTP/1.1 503 Busy\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")

    upstream.answer = refuse_late
    with connection(beating.port) as client:
        client.sendall(request(beating.port, json.dumps(QUESTION).encode(), [JSON_TYPE]))
        assert heard.wait(10)
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)
        gate.open()
        client.settimeout(10)
        with http.client.HTTPResponse(client) as response:
            response.begin()
            assert (response.status, response.read()) == (503, b"{}")
