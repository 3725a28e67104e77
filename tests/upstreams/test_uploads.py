"""Long request bodies: sent whole, broken, refused, and answered before they were read."""

import asyncio
from collections.abc import AsyncIterator

import httpx2
import pytest

from tests.upstreams.conftest import Run
from tests.upstreams.peers import (
    CHUNKED,
    HELLO,
    LAST,
    SIZED,
    Early,
    Peer,
    ask,
    body_of,
    request,
    serving,
    transport,
    upload,
)

EARLY = b"HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: 5\r\n\r\nlarge"
KEPT = EARLY.replace(b"connection: close\r\n", b"")


@pytest.mark.parametrize("answer", [EARLY, KEPT])
def test_an_answer_before_the_body_was_read_is_the_answer(run: Run, answer: bytes) -> None:
    async def refuse(peer: Peer) -> None:
        await peer.hear_head()
        await peer.say(answer)
        await peer.leaving()

    async def main() -> None:
        async with serving(refuse, kind=Early) as server, transport(limit=1) as sender:
            for _ in range(2):
                asked = request(server.port, body=b"x" * 20_000_000)
                assert await ask(sender, asked) == (413, b"large")
            assert server.connections == 2, "the rest of the body would be taken for a request"

    run(main())


@pytest.mark.parametrize("answer", [EARLY, KEPT])
def test_an_answer_before_the_upload_ended_ends_the_upload(run: Run, answer: bytes) -> None:
    async def refuse(peer: Peer) -> None:
        await peer.hear_head()
        await peer.reader.readexactly(1000)
        await peer.say(answer)
        await peer.leaving()

    async def main() -> None:
        ended = asyncio.Event()

        async def pieces() -> AsyncIterator[bytes]:
            try:
                yield b"x" * 1000
                await asyncio.Event().wait()
            finally:
                ended.set()

        async with serving(refuse, kind=Early) as server, transport(limit=1) as sender:
            response = await sender.handle_async_request(upload(server.port, pieces()))
            assert (response.status_code, await body_of(response)) == (413, b"large")
            await ended.wait()
            await server.deserted()

    run(main())


def test_an_upload_that_is_refused_stops_before_the_refusal_is_whole(run: Run) -> None:
    async def main() -> None:
        stopped = asyncio.Event()

        async def refuse(peer: Peer) -> None:
            await peer.hear_head()
            await peer.say(EARLY[:-5])
            await stopped.wait()
            await peer.say(EARLY[-5:])

        async def pieces() -> AsyncIterator[bytes]:
            try:
                yield b"x" * 1000
                await asyncio.Event().wait()
            finally:
                stopped.set()

        async with serving(refuse, kind=Early) as server, transport() as sender:
            assert await ask(sender, upload(server.port, pieces())) == (413, b"large")

    run(main())


def test_an_answer_and_the_upload_can_run_side_by_side(run: Run) -> None:
    async def echo(peer: Peer) -> None:
        await peer.hear_head()
        await peer.say(CHUNKED)
        while (line := await peer.reader.readline()) != b"0\r\n":
            await peer.say(line + await peer.reader.readline())
        await peer.reader.readline()
        await peer.say(LAST)

    async def main() -> None:
        heard: asyncio.Queue[bytes | None] = asyncio.Queue()

        async def pieces() -> AsyncIterator[bytes]:
            while (data := await heard.get()) is not None:
                yield data

        async with serving(echo, kind=Early) as server, transport() as sender:
            response = await sender.handle_async_request(upload(server.port, pieces()))
            assert isinstance(response.stream, httpx2.AsyncByteStream)
            answer = aiter(response.stream)
            for word in (b"one", b"two", b"three"):
                heard.put_nowait(word)
                assert await anext(answer) == word
            heard.put_nowait(None)
            assert await anext(answer, b"") == b""
            await response.stream.aclose()

    run(main())


@pytest.mark.parametrize("length", [None, 300_000])
def test_an_upload_arrives_whole_and_its_connection_serves_again(run: Run, length: int | None) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(30):
            yield b"x" * 10_000

    async def main() -> None:
        async with serving(lambda peer: peer.say(SIZED)) as server, transport() as sender:
            for _ in range(2):
                asked = upload(server.port, pieces(), length)
                assert await ask(sender, asked) == (200, b"hello")
            assert server.heard[0].count(b"x") == 300_000 and server.connections == 1

    run(main())


@pytest.mark.parametrize("begun", [b"", CHUNKED + HELLO])
def test_an_upload_that_breaks_is_what_the_caller_gets(run: Run, begun: bytes) -> None:
    class Left(Exception):
        pass

    async def listen(peer: Peer) -> None:
        await peer.hear_head()
        await peer.say(begun)
        await peer.leaving()

    async def main() -> None:
        go_on = asyncio.Event()

        async def pieces() -> AsyncIterator[bytes]:
            yield b"x" * 1000
            if begun:
                await go_on.wait()
            raise Left

        async with serving(listen, kind=Early) as server, transport(limit=1) as sender:
            with pytest.raises(Left):
                response = await sender.handle_async_request(upload(server.port, pieces()))
                go_on.set()
                await body_of(response)
            await server.deserted()

    run(main())
