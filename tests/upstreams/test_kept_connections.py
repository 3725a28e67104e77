"""How connections are kept, tried again, let go of, and counted."""

import asyncio
from collections.abc import AsyncIterator, Mapping

import httpx2
import pytest

from aibridge import tasks
from tests.upstreams.conftest import Run
from tests.upstreams.peers import (
    CHUNKED,
    CLOCKS,
    HELLO,
    LAST,
    SIZED,
    Peer,
    ask,
    body_of,
    request,
    serving,
    transport,
    upload,
)


async def _leave(response: httpx2.Response) -> None:
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    await response.stream.aclose()


def _clocks(**changed: float) -> Mapping[str, float]:
    return {**CLOCKS, **changed}


def test_connections_are_opened_as_needed_and_used_again(run: Run) -> None:
    async def main() -> None:
        together = asyncio.Barrier(8)

        async def answer(peer: Peer) -> None:
            if peer.asked == 1:
                await together.wait()
            await peer.say(SIZED)

        async with serving(answer) as server, transport() as sender:
            for _ in range(3):
                await asyncio.gather(*(ask(sender, request(server.port)) for _ in range(8)))
            assert (server.connections, server.open, len(server.heard)) == (8, 8, 24)
        await server.deserted()

    run(main())


def test_a_connection_is_free_with_the_answers_last_byte_whoever_still_reads(run: Run) -> None:
    async def main() -> None:
        async with serving(lambda peer: peer.say(SIZED)) as server, transport(limit=1) as sender:
            first = await sender.handle_async_request(request(server.port))
            assert await ask(sender, request(server.port)) == (200, b"hello")
            assert (await body_of(first), server.connections) == (b"hello", 1)
            await _leave(first)

    run(main())


def test_a_stream_whose_end_is_late_is_let_go_of_at_once_and_its_connection_kept(run: Run) -> None:
    async def main() -> None:
        left = asyncio.Event()

        async def stream(peer: Peer) -> None:
            await peer.say(CHUNKED + HELLO)
            await left.wait()
            await peer.say(LAST)

        async with serving(stream) as server, transport(limit=1) as sender:
            for _ in range(3):
                left.clear()
                response = await sender.handle_async_request(request(server.port))
                assert isinstance(response.stream, httpx2.AsyncByteStream)
                assert await anext(aiter(response.stream)) == b"hello"
                await response.stream.aclose()
                with pytest.raises(httpx2.StreamClosed):
                    await anext(aiter(response.stream))
                left.set()
            assert server.connections == 1

    run(main())


@pytest.mark.parametrize("more", [b"", HELLO, HELLO * 200_000])
def test_a_stream_that_is_left_before_its_end_closes_its_connection(
    run: Run, more: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    if more:  # then nobody waits for the end
        monkeypatch.setattr("aibridge.upstreams.incoming.AFTER_END", 60)

    async def main() -> None:
        left = asyncio.Event()

        async def stream(peer: Peer) -> None:
            await peer.say(CHUNKED + HELLO)
            await left.wait()
            await peer.say(more)
            await peer.leaving()

        async with serving(stream) as server, transport(limit=1) as sender:
            response = await sender.handle_async_request(request(server.port))
            assert isinstance(response.stream, httpx2.AsyncByteStream)
            assert await anext(aiter(response.stream)) == b"hello"
            await response.stream.aclose()
            left.set()
            await server.deserted()

    run(main())


def test_a_stream_that_is_left_with_more_of_it_unread_closes_its_connection_at_once(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aibridge.upstreams.incoming.AFTER_END", 60)

    async def stream(peer: Peer) -> None:
        await peer.say(CHUNKED + HELLO)
        await peer.leaving()

    async def main() -> None:
        async with serving(stream) as server, transport(limit=1) as sender:
            await _leave(await sender.handle_async_request(request(server.port)))
            await server.deserted()

    run(main())


@pytest.mark.parametrize("leave", [Peer.hang_up, Peer.reset])
def test_a_stale_connection_is_tried_once_more_on_a_new_one(run: Run, leave: object) -> None:
    async def answer(peer: Peer) -> None:
        if peer.asked == 1:
            await peer.say(SIZED)
        else:  # as if it had been closed while the request was underway
            assert callable(leave)
            leave(peer)

    async def main() -> None:
        async with serving(answer) as server, transport(limit=1) as sender:
            for number in range(1, 4):
                assert await ask(sender, request(server.port)) == (200, b"hello")
                assert server.connections == number

    run(main())


def test_where_one_kept_connection_is_stale_the_others_are_not_tried(run: Run) -> None:
    async def main() -> None:
        together = asyncio.Barrier(3)

        async def answer(peer: Peer) -> None:
            if peer.asked > 1:
                peer.hang_up()
                return
            if peer.number <= 3:
                await together.wait()
            await peer.say(SIZED)

        async with serving(answer) as server, transport(limit=3) as sender:
            await asyncio.gather(*(ask(sender, request(server.port)) for _ in range(3)))
            assert await ask(sender, request(server.port)) == (200, b"hello")
            assert (server.connections, len(server.heard)) == (4, 5)

    run(main())


def test_a_connection_that_nobody_wants_is_closed_and_one_in_use_is_not(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aibridge.upstreams.connection.KEPT", 0.2)

    async def main() -> None:
        async def answer(peer: Peer) -> None:
            if peer.asked == 2:
                pause = asyncio.Event()
                asyncio.get_running_loop().call_later(0.4, pause.set)
                await pause.wait()
            await peer.say(SIZED)

        async with serving(answer) as server, transport() as sender:
            for _ in range(2):
                assert await ask(sender, request(server.port)) == (200, b"hello")
            assert server.connections == 1
            await server.deserted()

    run(main())


def test_it_is_tried_once_and_not_twice(run: Run) -> None:
    async def answer(peer: Peer) -> None:
        if peer.number == 1 and peer.asked == 1:
            await peer.say(SIZED)
        else:
            peer.hang_up()

    async def main() -> None:
        async with serving(answer) as server, transport() as sender:
            await ask(sender, request(server.port))
            with pytest.raises(httpx2.RemoteProtocolError):
                await ask(sender, request(server.port))
            assert len(server.heard) == 3

    run(main())


@pytest.mark.parametrize("begun", [b"H", b"HTTP/1.1 100 Continue\r\n\r\n", SIZED[:-1]])
def test_a_stale_connection_that_answered_in_part_is_not_tried_again(run: Run, begun: bytes) -> None:
    async def answer(peer: Peer) -> None:
        if peer.asked == 1:
            await peer.say(SIZED)
        else:
            await peer.say(begun)
            peer.hang_up()

    async def main() -> None:
        async with serving(answer) as server, transport() as sender:
            await ask(sender, request(server.port))
            with pytest.raises(httpx2.RemoteProtocolError):
                await ask(sender, request(server.port))
            assert len(server.heard) == 2

    run(main())


def test_an_upload_is_not_tried_again(run: Run) -> None:
    async def answer(peer: Peer) -> None:
        if peer.asked == 1:
            await peer.say(SIZED)
        else:
            peer.hang_up()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"once"

    async def main() -> None:
        async with serving(answer) as server, transport() as sender:
            await ask(sender, request(server.port))
            with pytest.raises(httpx2.RemoteProtocolError):
                await ask(sender, upload(server.port, pieces()))
            assert len(server.heard) == 2

    run(main())


def test_no_more_connections_than_the_limit_and_everybody_is_served_in_turn(run: Run) -> None:
    async def main() -> None:
        async with serving(lambda peer: peer.say(SIZED)) as server, transport(limit=3) as sender:
            answers = await asyncio.gather(*(ask(sender, request(server.port)) for _ in range(50)))
            assert answers == [(200, b"hello")] * 50
            assert server.connections == 3

    run(main())


def test_the_limit_is_one_of_each_host(run: Run) -> None:
    async def main() -> None:
        go_on = asyncio.Event()

        async def wait(peer: Peer) -> None:
            await go_on.wait()
            await peer.say(SIZED)

        async with (
            serving(wait) as slow,
            serving(lambda peer: peer.say(SIZED)) as quick,
            transport(limit=1) as sender,
        ):
            waiting = tasks.start(ask(sender, request(slow.port)), "waiting")
            assert await ask(sender, request(quick.port)) == (200, b"hello")
            go_on.set()
            assert await waiting == (200, b"hello")

    run(main())


def test_no_free_connection_in_time_is_a_pool_timeout(run: Run) -> None:
    async def main() -> None:
        async with serving(lambda peer: peer.say(CHUNKED)) as server, transport(limit=1) as sender:
            first = await sender.handle_async_request(request(server.port))
            with pytest.raises(httpx2.PoolTimeout):
                await ask(sender, request(server.port, clocks=_clocks(pool=0.05)))
            await _leave(first)
            second = await sender.handle_async_request(request(server.port))
            await _leave(second)

    run(main())
