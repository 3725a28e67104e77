"""SIGTERM: what runs may finish within its grace, then it is told; nothing new is begun."""

import http.client
import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.bridge import Bridge
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
)
from tests.support.waiting import answers, eventually

QUESTION = json.dumps(
    {"model": "m-1", "messages": [], "stream": True, "stream_options": {"include_usage": True}}
).encode()
HANG = calling("house__hang")
BEGUN = STREAM.index(b"\n\n") + 2


def _half_then(gate: Gate, talk: Talk) -> None:
    talk.send(STREAM_HEAD, piece(STREAM[:BEGUN]))
    gate.pass_through()
    talk.send(piece(STREAM[BEGUN:]), piece(b""))


@contextmanager
def _begun(port: int) -> Iterator[tuple[socket.socket, http.client.HTTPResponse]]:
    """A stream whose first event has come."""
    with connection(port) as client:
        client.sendall(request(port, QUESTION, [JSON_TYPE]))
        with http.client.HTTPResponse(client) as response:
            response.begin()
            assert response.read(BEGUN) == STREAM[:BEGUN]
            yield client, response


def _stop(bridge: Bridge) -> None:
    os.kill(bridge.program.pid, signal.SIGTERM)
    eventually(lambda: not answers(f"{bridge.url}/healthz"), what="the end of listening")


def _bridge(folder: Path, upstream: RawUpstream, grace: str) -> Bridge:
    config = {"upstreams": {"up": {"base_url": upstream.base_url}}, "server": {"shutdown_grace": grace}}
    return Bridge(folder, config)


def test_a_stream_that_runs_may_finish(upstream: RawUpstream, tmp_path: Path) -> None:
    with Gate() as gate, _bridge(tmp_path, upstream, "20s") as bridge:
        upstream.answer = lambda talk: _half_then(gate, talk)
        with _begun(bridge.port) as (_, response):
            _stop(bridge)
            gate.open()
            assert response.read() == STREAM[BEGUN:]
        assert eventually(lambda: bridge.program.status is not None)
        assert bridge.program.status == 0, bridge.log
        assert "Traceback" not in bridge.log
        assert bridge.ended()["status"] == "completed"


def test_a_stream_that_outlives_the_grace_ends_in_an_error(upstream: RawUpstream, tmp_path: Path) -> None:
    with Gate() as gate, _bridge(tmp_path, upstream, "1s") as bridge:
        upstream.answer = lambda talk: _half_then(gate, talk)
        with _begun(bridge.port) as (_, response):
            _stop(bridge)
            rest = response.read()
        assert b"[DONE]" not in rest
        assert rest.startswith(b"data: ") and rest.endswith(b"\n\n")
        error = json.loads(rest.removeprefix(b"data: "))["error"]
        assert error["code"] == "overloaded" and "stopped" in error["message"]
        assert eventually(lambda: bridge.program.status is not None)
        assert bridge.program.status == 0, bridge.log
        assert "Traceback" not in bridge.log and "lost" not in bridge.log
        row = bridge.ended()
        assert (row["rounds"], row["http_status"]) == (1, 200), "its ending was told"
        assert row["status"] != "completed"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings", "/v1/messages"])
def test_a_client_that_still_sends_after_the_grace_is_told(
    upstream: RawUpstream, tmp_path: Path, path: str
) -> None:
    with _bridge(tmp_path, upstream, "100ms") as bridge, connection(bridge.port) as client:
        headers = [JSON_TYPE, ("Expect", "100-continue")]
        client.sendall(request(bridge.port, QUESTION, headers, path=path)[:-1])
        assert client.recv(100).startswith(b"HTTP/1.1 100"), "the body is being read"
        assert bridge.stop() == 0
        with http.client.HTTPResponse(client) as response:
            response.begin()
            told = json.loads(response.read())
        assert response.status == 503
        assert told["error"]["message"] == "aibridge was stopped; ask again"
        assert ("type" in told) == (path == "/v1/messages"), "the API's own shape"
        assert "Traceback" not in bridge.log and "CancelledError" not in bridge.log


def test_a_tool_that_outlives_the_grace_is_cancelled(upstream: RawUpstream, tmp_path: Path) -> None:
    upstream.answer = lambda talk: talk.send(STREAM_HEAD, piece(HANG), piece(b""))
    notes = tmp_path / "notes"
    command = [sys.executable, "-m", "tests.tools.house", "--notes", str(notes)]
    config = {
        "upstreams": {"up": {"base_url": upstream.base_url}},
        "mcp_servers": {
            "house": {"command": command[0], "args": command[1:], "cwd": str(Path(__file__).parents[2])}
        },
        "server": {"shutdown_grace": "1s"},
    }
    with Bridge(tmp_path, config) as bridge, connection(bridge.port) as client:
        client.sendall(request(bridge.port, QUESTION, [JSON_TYPE]))
        eventually(lambda: "hang began" in notes.read_text(), what="the call")
        assert bridge.stop() == 0
        assert b"overloaded" in client.makefile("rb").read()
        assert bridge.rows("tool_calls")[0]["status"] == "cancelled"
        assert "Traceback" not in bridge.log and "lost" not in bridge.log
