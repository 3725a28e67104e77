"""Slow, silent and deaf upstreams, and slow callers: clocks and back-pressure."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Mapping

import httpx2
import pytest

from tests.upstreams.conftest import Run
from tests.upstreams.peers import (
    CHUNKED,
    CLOCKS,
    HELLO,
    LAST,
    SIZED,
    Early,
    Peer,
    ask,
    request,
    serving,
    transport,
    upload,
)


def _clocks(**changed: float) -> Mapping[str, float]:
    return {**CLOCKS, **changed}


def test_a_body_that_pauses_for_less_than_the_read_timeout_each_time_is_whole(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def pause() -> None:
            done = asyncio.Event()
            loop.call_later(0.1, done.set)
            await done.wait()

        async def stream(peer: Peer) -> None:
            await peer.say(CHUNKED)
            for _ in range(5):
                await pause()
                await peer.say(HELLO)
            await peer.say(LAST)

        async with serving(stream) as server, transport() as sender:
            began = loop.time()
            asked = request(server.port, clocks=_clocks(read=0.3))
            assert await ask(sender, asked) == (200, b"hello" * 5)
            assert loop.time() - began > 0.4

    run(main())


def test_a_caller_that_is_slow_is_not_an_upstream_that_is_silent(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        first, last = asyncio.Event(), asyncio.Event()

        async def stream(peer: Peer) -> None:
            await peer.say(CHUNKED + HELLO)
            await first.wait()
            await peer.say(HELLO)
            await last.wait()
            await peer.say(HELLO)
            await peer.leaving()

        async with serving(stream) as server, transport() as sender:
            response = await sender.handle_async_request(request(server.port, clocks=_clocks(read=0.4)))
            assert isinstance(response.stream, httpx2.AsyncByteStream)
            pieces = aiter(response.stream)
            assert await anext(pieces) == b"hello"
            loop.call_soon(first.set)
            assert await anext(pieces) == b"hello"  # had to wait: the clock runs
            busy = asyncio.Event()
            loop.call_later(1.0, busy.set)
            await busy.wait()
            loop.call_later(0.3, last.set)  # longer than until the clock is looked at again
            assert await anext(pieces) == b"hello"
            with pytest.raises(httpx2.ReadTimeout):
                await anext(pieces)
            await response.stream.aclose()

    run(main())


@pytest.mark.parametrize("begun", [CHUNKED, CHUNKED + HELLO])
def test_a_silent_body_is_a_read_timeout_and_closes_the_connection(run: Run, begun: bytes) -> None:
    async def stream(peer: Peer) -> None:
        await peer.say(begun)
        await peer.leaving()

    async def main() -> None:
        async with serving(stream) as server, transport(limit=1) as sender:
            with pytest.raises(httpx2.ReadTimeout):
                await ask(sender, request(server.port, clocks=_clocks(read=0.05)))
            await server.deserted()

    run(main())


@pytest.mark.parametrize("known", [True, False])
def test_an_upstream_that_takes_nothing_is_a_write_timeout_and_little_is_read_ahead(
    run: Run, known: bool
) -> None:
    async def main() -> None:
        drawn = 0
        deaf = asyncio.Event()

        async def pieces() -> AsyncIterator[bytes]:
            nonlocal drawn
            for _ in range(1000):
                drawn += 100_000
                yield b"x" * 100_000

        async def ignore(peer: Peer) -> None:
            await deaf.wait()

        async with serving(ignore, kind=Early) as server, transport(limit=1) as sender:
            clocks = _clocks(write=0.1)
            whole = request(server.port, clocks=clocks, body=b"x" * 50_000_000)
            asked = whole if known else upload(server.port, pieces(), clocks=clocks)
            with pytest.raises(httpx2.WriteTimeout):
                await ask(sender, asked)
            assert drawn < 30_000_000
            deaf.set()

    run(main())


def test_a_slow_upstream_that_takes_a_little_all_the_time_is_no_timeout(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def sip(peer: Peer) -> None:
            await peer.hear_head()
            for _ in range(8):
                await peer.reader.readexactly(3_000_000)
                pause = asyncio.Event()
                loop.call_later(0.1, pause.set)
                await pause.wait()
            await peer.say(SIZED)

        async with serving(sip, kind=Early) as server, transport() as sender:
            asked = request(server.port, clocks=_clocks(write=0.2), body=b"x" * 24_000_000)
            assert await ask(sender, asked) == (200, b"hello")

    run(main())


def test_an_address_that_is_none_is_a_connect_error(run: Run) -> None:
    async def main() -> None:
        async with transport() as sender:
            for host in ("no-such-host.invalid", "a" * 70 + ".invalid"):
                with pytest.raises(httpx2.ConnectError):
                    await ask(sender, request(80, host=host))
            with pytest.raises(httpx2.UnsupportedProtocol):
                await ask(sender, request(80, scheme="ftp"))

    run(main())


def test_what_a_slow_caller_does_not_read_stays_with_the_upstream(run: Run) -> None:
    size = 100_000_000
    written = 0
    stuck = threading.Event()

    def stream(listener: socket.socket) -> None:
        nonlocal written
        client, _ = listener.accept()
        with client:
            client.recv(1 << 16)
            client.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
            client.settimeout(0.3)
            piece = memoryview(bytes(1 << 16))
            while written < size:
                try:
                    written += client.send(piece[: size - written])
                except TimeoutError:
                    stuck.set()
                    client.settimeout(20)

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=stream, args=(listener,))
            thread.start()
            async with transport() as sender:
                response = await sender.handle_async_request(request(listener.getsockname()[1]))
                assert await asyncio.to_thread(stuck.wait, 20), "the upstream could write all"
                assert written < 30_000_000
                assert isinstance(response.stream, httpx2.AsyncByteStream)
                pieces = aiter(response.stream)
                first = await anext(pieces)
                assert len(first) < 1_000_000
                read = len(first)
                async for piece in pieces:
                    read += len(piece)
                await response.stream.aclose()
            assert read == size
            await asyncio.to_thread(thread.join)

    run(main())
