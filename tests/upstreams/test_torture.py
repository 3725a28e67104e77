"""The transport before upstreams that do what they want, on real sockets: answers and breaks."""

import asyncio

import httpx2
import pytest

from tests.upstreams.conftest import Run
from tests.upstreams.peers import (
    BODY,
    CHUNKED,
    HELLO,
    LAST,
    SIZED,
    Peer,
    ask,
    request,
    serving,
    transport,
)

INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        SIZED,
        CHUNKED + HELLO + LAST,
        INTERIM + SIZED,
        CHUNKED + b'5;a="1"\r\nhello\r\n0;b\r\nx-sum: 1\r\n\r\n',
        b"HTTP/1.1 200 OK\ncontent-length: 5\n\nhello",
    ],
)
def test_an_answer_of_single_bytes_is_whole_and_its_connection_serves_again(run: Run, answer: bytes) -> None:
    async def drip(peer: Peer) -> None:
        await peer.say(*(answer[i : i + 1] for i in range(len(answer))))

    async def main() -> None:
        async with serving(drip) as server, transport() as sender:
            for _ in range(3):
                assert await ask(sender, request(server.port)) == (200, b"hello")
            assert server.connections == 1
            assert server.heard[0].endswith(b"\r\n\r\n" + BODY)

    run(main())


@pytest.mark.parametrize("answer", [SIZED, CHUNKED + HELLO + LAST, INTERIM + CHUNKED + HELLO + LAST])
@pytest.mark.parametrize("leave", [Peer.hang_up, Peer.reset])
def test_an_answer_that_breaks_at_any_place_is_an_error(run: Run, answer: bytes, leave: object) -> None:
    place = 0

    async def break_off(peer: Peer) -> None:
        await peer.say(answer[:place])
        assert callable(leave)
        leave(peer)

    async def main() -> None:
        nonlocal place
        async with serving(break_off) as server, transport(limit=1) as sender:
            for cut in range(len(answer)):
                place = cut
                with pytest.raises((httpx2.ReadError, httpx2.RemoteProtocolError)):
                    await ask(sender, request(server.port))
            assert len(server.heard) == len(answer), "a new connection is not tried again"

    run(main())


@pytest.mark.parametrize("more", [b"x", SIZED, b"HTTP/1.1 500 No\r\n\r\n", b"\0" * 70_000])
@pytest.mark.parametrize("late", [False, True])
def test_bytes_that_nobody_asked_for_close_the_connection(run: Run, more: bytes, late: bool) -> None:
    read = asyncio.Event()

    async def babble(peer: Peer) -> None:
        if late:
            await peer.say(SIZED)
            await read.wait()
            await peer.say(more)
        else:
            await peer.say(SIZED + more)
        await peer.leaving()

    async def main() -> None:
        async with serving(babble) as server, transport() as sender:
            for number in range(1, 4):
                read.clear()
                assert await ask(sender, request(server.port)) == (200, b"hello")
                read.set()
                await server.deserted()
                assert server.connections == number

    run(main())


def test_a_body_without_a_length_lasts_until_the_upstream_closes(run: Run) -> None:
    async def stream(peer: Peer) -> None:
        await peer.say(b"HTTP/1.0 200 OK\r\n\r\n", b"hel", b"lo")
        peer.hang_up()

    async def main() -> None:
        async with serving(stream) as server, transport() as sender:
            for _ in range(2):
                assert await ask(sender, request(server.port)) == (200, b"hello")
            assert server.connections == 2

    run(main())


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"),
        ("POST", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n"),
    ],
)
def test_an_answer_without_a_body_ends_with_its_head(run: Run, method: str, answer: bytes) -> None:
    async def main() -> None:
        async with serving(lambda peer: peer.say(answer)) as server, transport(limit=1) as sender:
            for _ in range(2):
                _, body = await ask(sender, request(server.port, method=method))
                assert body == b""

    run(main())


def test_oversized_headers_are_refused(run: Run) -> None:
    async def boast(peer: Peer) -> None:
        await peer.say(b"HTTP/1.1 200 OK\r\n")
        while True:
            await peer.say(b"x-more: " + b"v" * 1000 + b"\r\n")

    async def main() -> None:
        async with serving(boast) as server, transport() as sender:
            with pytest.raises(httpx2.RemoteProtocolError, match="too long"):
                await ask(sender, request(server.port))

    run(main())


def test_headers_of_60_kb_are_taken(run: Run) -> None:
    head = b"HTTP/1.1 200 OK\r\nx-long: " + b"v" * 60_000 + b"\r\ncontent-length: 5\r\n\r\nhello"

    async def main() -> None:
        async with serving(lambda peer: peer.say(head)) as server, transport() as sender:
            assert await ask(sender, request(server.port)) == (200, b"hello")

    run(main())


def test_a_request_that_does_not_keep_to_its_length_is_not_sent(run: Run) -> None:
    async def main() -> None:
        async with serving(lambda peer: peer.say(SIZED)) as server, transport(limit=1) as sender:
            wrong = request(server.port)
            wrong.headers["content-length"] = "3"
            with pytest.raises(httpx2.LocalProtocolError):
                await ask(sender, wrong)
            assert server.connections == 0
            assert await ask(sender, request(server.port)) == (200, b"hello")

    run(main())
