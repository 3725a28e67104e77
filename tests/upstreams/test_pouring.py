"""The rest of a body, given piece by piece in the moment that it comes, without the caller's task."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest

from aibridge.upstreams.incoming import Incoming
from tests.upstreams.conftest import Run
from tests.upstreams.peers import CHUNKED, CLOCKS, HELLO, LAST, Answer, Peer, request, serving, transport


@asynccontextmanager
async def _begun(answer: Answer, read: float = 5.0) -> AsyncIterator[Incoming]:
    """An answer of which the first piece was read."""
    async with serving(answer) as server, transport() as sender:
        asked = request(server.port, clocks={**CLOCKS, "read": read})
        response = await sender.handle_async_request(asked)
        assert isinstance(response.stream, Incoming)
        try:
            assert await anext(response.stream) == b"hello"
            yield response.stream
        finally:
            await response.stream.aclose()


def test_pieces_are_given_outside_of_the_task_that_waits(run: Run) -> None:
    async def main() -> None:
        waits, given = asyncio.Event(), asyncio.Event()
        tasks: list[object] = []

        async def stream(peer: Peer) -> None:
            await peer.say(CHUNKED + HELLO)
            await waits.wait()
            for _ in range(3):
                given.clear()
                await peer.say(HELLO)
                await given.wait()
            await peer.say(LAST)

        def take(piece: bytes) -> str | None:
            assert piece == b"hello"
            tasks.append(asyncio.current_task())
            given.set()
            return None

        async with _begun(stream) as answer:
            asyncio.get_running_loop().call_soon(waits.set)
            assert await answer.pour(take) is None
        assert tasks == [None, None, None]

    run(main())


def test_what_is_given_back_ends_the_pouring_and_the_rest_can_be_poured_on(run: Run) -> None:
    async def main() -> None:
        waits, over = asyncio.Event(), asyncio.Event()

        async def stream(peer: Peer) -> None:
            await peer.say(CHUNKED + HELLO)
            await waits.wait()
            await peer.say(b"3\r\nend\r\n")
            await over.wait()
            await peer.say(HELLO, HELLO, LAST)

        rest: list[bytes] = []

        def until_end(piece: bytes) -> str | None:
            over.set()
            return "over" if piece == b"end" else None

        async with _begun(stream) as answer:
            asyncio.get_running_loop().call_soon(waits.set)
            assert await answer.pour(until_end) == "over"
            await answer.pour(rest.append)
            assert b"".join(rest) == b"hellohello"

    run(main())


def test_what_the_taker_raises_comes_to_the_caller_and_only_there(run: Run) -> None:
    async def main() -> None:
        waits = asyncio.Event()

        async def stream(peer: Peer) -> None:
            await peer.say(CHUNKED + HELLO)
            await waits.wait()
            await peer.say(HELLO)
            await peer.leaving()

        def take(piece: bytes) -> None:
            raise LookupError(piece.decode())

        async with _begun(stream) as answer:
            asyncio.get_running_loop().call_soon(waits.set)
            with pytest.raises(LookupError, match="hello"):
                await answer.pour(take)

    run(main())


def test_a_body_that_breaks_or_falls_silent_while_it_pours_is_an_error(run: Run) -> None:
    async def main() -> None:
        waits = asyncio.Event()

        async def breaks(peer: Peer) -> None:
            await peer.say(CHUNKED + HELLO)
            await waits.wait()
            peer.reset()

        async def rests(peer: Peer) -> None:
            await peer.say(CHUNKED + HELLO)
            await peer.leaving()

        async with _begun(breaks) as answer:
            asyncio.get_running_loop().call_soon(waits.set)
            with pytest.raises((httpx2.ReadError, httpx2.RemoteProtocolError)):
                await answer.pour(lambda piece: None)
        async with _begun(rests, read=0.1) as answer:
            with pytest.raises(httpx2.ReadTimeout):
                await answer.pour(lambda piece: None)

    run(main())


def test_being_cancelled_while_it_pours_ends_the_connection(run: Run) -> None:
    async def main() -> None:
        left = asyncio.Event()

        async def stream(peer: Peer) -> None:
            await peer.say(CHUNKED + HELLO)
            await peer.leaving()
            left.set()

        async with _begun(stream) as answer:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(answer.pour(lambda piece: None), 0.05)
            await left.wait()

    run(main())
