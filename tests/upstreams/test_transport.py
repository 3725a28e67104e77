"""The transport before servers that misbehave: httpx2's exceptions; nothing kept or followed."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx2
import pytest

from aibridge import tasks
from aibridge.upstreams.transport import Http1Transport
from tests.support.environment import free_port
from tests.support.raw import (
    COMPLETION,
    JSON_TYPE,
    STREAM,
    STREAM_HEAD,
    Talk,
    answer_plainly,
    piece,
    raw_upstream,
    whole,
)

CLOCKS = {"connect": 5.0, "read": 5.0}


def _request(port: int, clocks: Mapping[str, float] = CLOCKS, body: bytes = b"{}") -> httpx2.Request:
    return httpx2.Request(
        "POST",
        f"http://127.0.0.1:{port}/v1/chat/completions",
        headers=[(b"host", b"up"), (b"content-length", str(len(body)).encode())],
        stream=httpx2.ByteStream(body),
        extensions={"timeout": clocks},
    )


@asynccontextmanager
async def _transport() -> AsyncIterator[Http1Transport]:
    transport = Http1Transport()
    try:
        yield transport
    finally:
        await transport.aclose()


async def _send(transport: Http1Transport, request: httpx2.Request) -> tuple[httpx2.Response, bytes]:
    response = await transport.handle_async_request(request)
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    try:
        return response, b"".join([data async for data in response.stream])
    finally:
        await response.stream.aclose()


def _ask(
    port: int, clocks: Mapping[str, float] = CLOCKS, times: int = 1
) -> list[tuple[httpx2.Response, bytes]]:
    async def ask() -> list[tuple[httpx2.Response, bytes]]:
        async with _transport() as transport:
            return [await _send(transport, _request(port, clocks)) for _ in range(times)]

    return asyncio.run(ask())


def test_an_answer_comes_back_with_its_headers_as_they_were() -> None:
    headers = [JSON_TYPE, ("X-Case", "Kept"), ("x-twice", "1"), ("x-twice", "2")]
    with raw_upstream(lambda talk: talk.send(whole(COMPLETION, "201 Made", headers))) as upstream:
        [(response, body)] = _ask(upstream.port)
    assert (response.status_code, body) == (201, COMPLETION)
    assert response.headers.raw[:4] == [(name.encode(), value.encode()) for name, value in headers]


def test_a_finished_stream_leaves_its_connection_for_the_next() -> None:
    def stream(talk: Talk) -> None:
        talk.send(STREAM_HEAD, piece(STREAM), piece(b""))

    with raw_upstream(stream) as upstream:
        answers = _ask(upstream.port, times=5)
        assert [body for _, body in answers] == [STREAM] * 5
        assert upstream.connections == 1


def test_a_stream_that_is_left_early_closes_its_connection() -> None:
    async def leave() -> None:
        async with _transport() as transport:
            response = await transport.handle_async_request(_request(upstream.port))
            assert isinstance(response.stream, httpx2.AsyncByteStream)
            assert await anext(aiter(response.stream)) == STREAM[:10]
            await response.stream.aclose()
            await _send(transport, _request(upstream.port))

    def stream(talk: Talk) -> None:
        if talk.number == 0:
            talk.send(STREAM_HEAD, piece(STREAM[:10]))
            talk.await_leaving()
        else:
            talk.send(whole(COMPLETION))

    with raw_upstream(stream) as upstream:
        asyncio.run(leave())
        assert upstream.connections == 2


def test_a_refused_connection_is_a_connect_error() -> None:
    with pytest.raises(httpx2.ConnectError):
        _ask(free_port())


def test_a_connection_that_is_not_taken_in_time_is_a_connect_timeout() -> None:
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)  # the queue is full with the first one
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        with pytest.raises(httpx2.ConnectTimeout):
            _ask(listener.getsockname()[1], {"connect": 0.2, "read": 5})


def test_a_connection_that_closes_without_an_answer_is_an_error() -> None:
    with raw_upstream(lambda talk: talk.hang_up()) as upstream:
        with pytest.raises(httpx2.TransportError):
            _ask(upstream.port)
        assert len(upstream.heard) == 1, "a new connection is not tried again: the model may have begun"


@pytest.mark.parametrize(
    "answer", [b"nonsense\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n"]
)
def test_an_answer_that_is_no_http_is_an_error(answer: bytes) -> None:
    def say(talk: Talk) -> None:
        talk.send(answer)
        talk.hang_up()

    with raw_upstream(say) as upstream, pytest.raises(httpx2.RemoteProtocolError):
        _ask(upstream.port)


@pytest.mark.parametrize(
    "begun", [STREAM_HEAD + piece(STREAM), STREAM_HEAD + b"ff\r\nhalf", whole(COMPLETION)[:-9]]
)
def test_a_body_that_is_cut_is_a_protocol_error(begun: bytes) -> None:
    def cut(talk: Talk) -> None:
        talk.send(begun)
        talk.hang_up()

    with raw_upstream(cut) as upstream, pytest.raises(httpx2.RemoteProtocolError):
        _ask(upstream.port)


@pytest.mark.parametrize("begun", [STREAM_HEAD, STREAM_HEAD + piece(STREAM[:30]), whole(COMPLETION)[:-9]])
def test_a_body_that_falls_silent_is_a_read_timeout(begun: bytes) -> None:
    def fall_silent(talk: Talk) -> None:
        talk.send(begun)
        talk.await_leaving()

    with raw_upstream(fall_silent) as upstream, pytest.raises(httpx2.ReadTimeout):
        _ask(upstream.port, {"connect": 5, "read": 0.1})


def test_a_kept_connection_that_had_gone_stale_is_tried_once_more() -> None:
    def answer(talk: Talk) -> None:
        if talk.number == 1:
            talk.hang_up()  # as if it had been closed before the request came
        else:
            talk.send(whole(COMPLETION))

    with raw_upstream(answer) as upstream:
        answers = _ask(upstream.port, times=2)
        assert [body for _, body in answers] == [COMPLETION] * 2
        assert (len(upstream.heard), upstream.connections) == (3, 2)


def test_a_kept_connection_that_answered_in_part_is_not_tried_again() -> None:
    def answer(talk: Talk) -> None:
        if talk.number == 1:
            talk.send(b"HTTP/1.1 200 OK\r\ncontent-")
            talk.hang_up()
        else:
            talk.send(whole(COMPLETION))

    with raw_upstream(answer) as upstream:
        with pytest.raises(httpx2.TransportError):
            _ask(upstream.port, times=2)
        assert len(upstream.heard) == 2


def test_no_cookie_is_kept() -> None:
    headers = [JSON_TYPE, ("Set-Cookie", "session=1; Path=/")]
    with raw_upstream(lambda talk: talk.send(whole(COMPLETION, headers=headers))) as upstream:
        _ask(upstream.port, times=2)
        assert [heard.all("cookie") for heard in upstream.heard] == [[], []]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(status: int) -> None:
    headers = [JSON_TYPE, ("Location", "/elsewhere")]
    with raw_upstream(lambda talk: talk.send(whole(b"", f"{status} Moved", headers))) as upstream:
        [(response, _)] = _ask(upstream.port)
        assert (response.status_code, len(upstream.heard)) == (status, 1)


def test_an_encoded_body_is_left_to_the_caller() -> None:
    headers = [JSON_TYPE, ("Content-Encoding", "gzip")]
    with raw_upstream(lambda talk: talk.send(whole(b"not gzip at all", headers=headers))) as upstream:
        [(_, body)] = _ask(upstream.port)
    assert body == b"not gzip at all"


def test_long_headers_are_taken() -> None:
    headers = [JSON_TYPE, ("x-long", "v" * 30_000)]
    with raw_upstream(lambda talk: talk.send(whole(COMPLETION, headers=headers))) as upstream:
        [(response, _)] = _ask(upstream.port)
    assert len(response.headers["x-long"]) == 30_000


def test_a_request_is_sent_with_the_headers_it_has_and_no_others() -> None:
    with raw_upstream(answer_plainly) as upstream:
        _ask(upstream.port)
        [heard] = upstream.heard
    assert sorted(name.lower() for name, _ in heard.headers) == ["content-length", "host"]
    assert (heard.all("host"), heard.body) == (["up"], b"{}")


def test_a_request_that_is_cancelled_lets_go_of_its_connection() -> None:
    heard, left = threading.Event(), threading.Event()

    def watch(talk: Talk) -> None:
        heard.set()
        talk.await_leaving()
        left.set()

    async def cancel() -> None:
        async with _transport() as transport:
            work = tasks.start(transport.handle_async_request(_request(upstream.port)), "request")
            await asyncio.to_thread(heard.wait, 10)
            await tasks.stop(work)
            assert await asyncio.to_thread(left.wait, 10)

    with raw_upstream(watch) as upstream:
        asyncio.run(cancel())
