"""Two processes share the limits of a key: through Redis, or through files where they are on one machine."""

import asyncio
import fcntl
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from aibridge.access.buckets import Limits
from aibridge.access.shared_limiter import SharedLimiter
from tests.access.conftest import answer
from tests.support.bridge import Bridge
from tests.support.bridged import configuration
from tests.support.keys import bearer, make_key
from tests.support.raw import (
    JSON_TYPE,
    STREAM_HEAD,
    RawUpstream,
    Talk,
    ask,
    connection,
    piece,
    raw_upstream,
    said,
)
from tests.support.raw import request as asked
from tests.support.redis import redis_server
from tests.support.waiting import eventually

Json = dict[str, Any]
STREAM = b'{"model": "m-1", "stream": true, "messages": [{"role": "user", "content": "hi"}]}'


@pytest.fixture(scope="module", params=["redis", "files"])
def twins(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Bridge, Bridge, RawUpstream]]:
    """Two processes with one database, which count in one Redis or in files; and their upstream."""
    folder = tmp_path_factory.mktemp("twins")
    with ExitStack() as stack:
        upstream = stack.enter_context(raw_upstream(answer))
        access = {}
        if request.param == "redis":
            access["redis"] = stack.enter_context(redis_server(folder)).url
        config = configuration(folder, upstream.base_url, access=access)
        one, other = folder / "one", folder / "other"
        one.mkdir()
        other.mkdir()
        with Bridge(one, config) as first, Bridge(other, config) as second:
            yield first, second, upstream


def _known(key: Json, *bridges: Bridge) -> None:
    """Wait until all have heard of the key; a request that is too many is one that knows it."""
    for bridge in bridges:
        eventually(lambda bridge=bridge: ask(bridge.port, [bearer(key)]).status != 401)  # type: ignore[misc]


def test_two_processes_share_the_rate(twins: tuple[Bridge, Bridge, RawUpstream]) -> None:
    one, other, _ = twins
    began = time.monotonic()
    key = make_key(one.port, rpm=6)
    _known(key, one, other)
    got = [ask(bridge.port, [bearer(key)]).status for bridge in (one, other) * 6]
    passed = 2 + got.count(200)
    earned = 6 + (time.monotonic() - began) * 6 / 60
    assert set(got) <= {200, 429}
    assert 6 <= passed <= earned


def test_two_processes_share_the_slots(twins: tuple[Bridge, Bridge, RawUpstream]) -> None:
    one, other, upstream = twins
    key = make_key(one.port, concurrency=1)
    _known(key, one, other)
    upstream.answer = _stall
    with connection(one.port) as client:
        eventually(lambda: _begins(client, one, key), what="a stream that holds the slot")
        upstream.answer = answer
        assert ask(other.port, [bearer(key)]).status == 429
    eventually(lambda: ask(other.port, [bearer(key)]).status == 200, what="the slot")


def _begins(client: socket.socket, bridge: Bridge, key: Json) -> bool:
    """Whether a stream begins; it does not while another process still gives the slot back."""
    client.sendall(asked(bridge.port, STREAM, [JSON_TYPE, bearer(key)]))
    return client.recv(1 << 16).startswith(b"HTTP/1.1 200")


def _stall(talk: Talk) -> None:
    talk.send(STREAM_HEAD, piece(said("one", role="assistant")))
    talk.await_leaving()


def test_a_killed_process_gives_its_slots_back(tmp_path: Path) -> None:
    with raw_upstream(_stall) as upstream:
        config = configuration(tmp_path, upstream.base_url)
        one, other = tmp_path / "one", tmp_path / "other"
        one.mkdir()
        other.mkdir()
        with Bridge(one, config) as first, Bridge(other, config) as second:
            key = make_key(first.port, concurrency=1)
            _known(key, first)
            with connection(first.port) as client:
                client.sendall(asked(first.port, STREAM, [JSON_TYPE, bearer(key)]))
                assert client.recv(1 << 16).startswith(b"HTTP/1.1 200")
                upstream.answer = answer
                eventually(lambda: ask(second.port, [bearer(key)]).status == 429, what="the key there")
                first.kill()
                eventually(lambda: ask(second.port, [bearer(key)]).status == 200, what="the slot")


def test_half_of_a_page_and_a_lock_that_is_held_stop_nobody(tmp_path: Path) -> None:
    with asyncio.Runner() as runner:
        limiter = SharedLimiter(tmp_path)

        def refused() -> str | None:
            return runner.run(limiter.admit("k", Limits(rpm=1), 0, "lease")).refused

        assert [refused(), refused()] == [None, "requests"]
        [page] = tmp_path.glob("*.limits")
        with page.open("r+b") as file:
            file.seek(10)
            file.write(b"torn")
        assert [refused(), refused()] == [None, "requests"]
        with page.open() as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            assert [refused(), refused()] == [None, "requests"]  # by itself meanwhile
            assert limiter.state()["state"] == "failing"
        assert refused() == "requests"
        assert limiter.state()["state"] == "ok"
        runner.run(limiter.aclose())
