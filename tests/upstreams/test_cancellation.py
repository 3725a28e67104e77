"""What is cancelled or closed at any moment leaves nothing behind."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from contextlib import suppress

import httpx2
import pytest

from aibridge import tasks
from tests.upstreams.conftest import Run
from tests.upstreams.peers import (
    CHUNKED,
    HELLO,
    LAST,
    SIZED,
    Peer,
    ask,
    request,
    serving,
    transport,
    upload,
)


async def _next(pieces: AsyncIterator[bytes]) -> bytes:
    return await anext(pieces)


@pytest.mark.parametrize("uploads", [False, True])
def test_a_request_that_is_cancelled_anywhere_leaves_nothing_behind(run: Run, uploads: bool) -> None:
    """Cancelled after 0, 1, 2 … turns of the loop, until it is through before that."""

    async def stream(peer: Peer) -> None:
        await peer.say(CHUNKED, HELLO, HELLO, LAST)

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x"
            await asyncio.sleep(0)

    async def main() -> None:
        async with serving(stream) as server, transport(limit=1) as sender:
            for turns in range(1000):
                fresh = turns % 2 == 0
                async with transport(limit=1) as other:
                    used = other if fresh else sender
                    asked = upload(server.port, pieces()) if uploads else request(server.port)
                    work = tasks.start(ask(used, asked), "request")
                    for _ in range(turns):
                        await asyncio.sleep(0)
                    through = work.done()
                    await tasks.stop(work)
                    if through:
                        assert work.result() == (200, b"hellohello")
                    assert await ask(used, request(server.port)) == (200, b"hellohello")
                assert server.open <= 2, "one of the transport, one whose end the server has not seen yet"
                if through and not fresh:
                    break
            assert turns > 5

    run(main())


def test_being_cancelled_as_the_answer_ends_does_no_harm_to_who_has_the_connection_next(run: Run) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"not to be tried again"

    async def main() -> None:
        async with serving(lambda peer: peer.say(SIZED)) as server:
            for turns in range(1000):
                async with transport(limit=1) as sender:
                    first = tasks.start(ask(sender, request(server.port)), "first")
                    await asyncio.sleep(0)
                    second = tasks.start(ask(sender, upload(server.port, pieces())), "second")
                    for _ in range(turns):
                        await asyncio.sleep(0)
                    through = first.done()
                    first.cancel()
                    assert await second == (200, b"hello")
                    await tasks.stop(first)
                if through:
                    break

    run(main())


def test_being_cancelled_while_waiting_for_a_piece_closes_the_connection_at_once(run: Run) -> None:
    async def stream(peer: Peer) -> None:
        await peer.say(CHUNKED + HELLO)
        await peer.leaving()

    async def main() -> None:
        async with serving(stream) as server, transport(limit=1) as sender:
            response = await sender.handle_async_request(request(server.port))
            assert isinstance(response.stream, httpx2.AsyncByteStream)
            pieces = aiter(response.stream)
            assert await anext(pieces) == b"hello"
            work = tasks.start(_next(pieces), "reader")
            await asyncio.sleep(0)
            await tasks.stop(work)
            await server.deserted()
            await response.stream.aclose()

    run(main())


def test_closing_the_transport_at_any_moment_leaves_no_connection(run: Run) -> None:
    async def stream(peer: Peer) -> None:
        await peer.say(CHUNKED + HELLO)
        await peer.leaving()

    async def main() -> None:
        for turns in range(20):
            async with serving(stream) as server, transport() as sender:
                work = tasks.start(ask(sender, request(server.port)), "request")
                for _ in range(turns):
                    await asyncio.sleep(0)
                await sender.aclose()
                with pytest.raises(httpx2.TransportError):
                    await work
                if server.connections:
                    await server.deserted()

    run(main())


def test_closing_the_transport_breaks_what_is_underway(run: Run) -> None:
    async def main() -> None:
        heard = asyncio.Event()

        async def stream(peer: Peer) -> None:
            if len(server.heard) == 1:
                await peer.say(CHUNKED + HELLO)
            else:
                heard.set()
            await peer.leaving()

        async with serving(stream) as server, transport() as sender:
            response = await sender.handle_async_request(request(server.port))
            assert isinstance(response.stream, httpx2.AsyncByteStream)
            pieces = aiter(response.stream)
            assert await anext(pieces) == b"hello"
            reader = tasks.start(_next(pieces), "reader")
            waiting = tasks.start(ask(sender, request(server.port)), "waiting")
            await heard.wait()
            await sender.aclose()
            for work in (reader, waiting):
                with pytest.raises(httpx2.RemoteProtocolError):
                    await work
            await server.deserted()
            await response.stream.aclose()

    run(main())


@pytest.mark.parametrize("broken", [b"", b"nonsense\r\n", LAST[:1]])
def test_an_answer_that_broke_before_it_was_read_is_forgotten(run: Run, broken: bytes) -> None:
    async def cut(peer: Peer) -> None:
        await peer.say(CHUNKED + HELLO)
        await gone.wait()
        await peer.say(broken)
        peer.hang_up()

    async def answer(sender: httpx2.AsyncBaseTransport, port: int) -> weakref.ref[object]:
        response = await sender.handle_async_request(request(port))
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        assert await anext(aiter(response.stream)) == b"hello"
        gone.set()
        for _ in range(100):  # until it is broken
            await asyncio.sleep(0)
        with suppress(httpx2.TransportError):
            async for _ in response.stream:
                pass
        await response.stream.aclose()
        return weakref.ref(response.stream)

    gone = asyncio.Event()

    async def main() -> None:
        async with serving(cut) as server, transport() as sender:
            stream = await answer(sender, server.port)
            await server.deserted()
            gc.collect()
            assert stream() is None

    run(main())
