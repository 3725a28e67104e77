"""An upstream in the test's own loop, on a real socket: any bytes in any pieces, and any break."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import httpx2

from aibridge import tasks
from aibridge.upstreams.transport import Http1Transport

CLOCKS: Mapping[str, float] = {"connect": 5, "read": 5, "write": 5, "pool": 5}
BODY = b'{"model": "m-1"}'
SIZED = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
HELLO = b"5\r\nhello\r\n"
LAST = b"0\r\n\r\n"


@dataclass(slots=True)
class Peer:
    """The upstream's end of a connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int
    """Counts the connections, from 1."""
    asked: int = 0
    """Requests on this connection."""

    async def hear(self) -> bytes:
        """The next request with its body; IncompleteReadError where there is none."""
        head = await self.hear_head()
        length = next(
            (int(line[16:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        if b"transfer-encoding: chunked" in head.lower():
            return head + await self.reader.readuntil(b"\r\n0\r\n\r\n")
        return head + await self.reader.readexactly(length)

    async def hear_head(self) -> bytes:
        """The next request's head."""
        return await self.reader.readuntil(b"\r\n\r\n")

    async def say(self, *pieces: bytes) -> None:
        """Send each piece by itself."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0)

    async def leaving(self) -> None:
        """Wait until the other side has closed the connection."""
        with suppress(ConnectionError):
            while await self.reader.read(1 << 16):
                pass

    def hang_up(self) -> None:
        """Close in order."""
        self.writer.close()

    def reset(self) -> None:
        """Close with a reset."""
        handle = self.writer.get_extra_info("socket")
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Answer = Callable[[Peer], Awaitable[None]]


@dataclass(slots=True)
class Server:
    """What the upstream saw."""

    answer: Answer
    port: int = 0
    connections: int = 0
    heard: list[bytes] = field(default_factory=list)
    open: int = 0
    """Connections that nobody has closed."""
    _deserted: asyncio.Event = field(default_factory=asyncio.Event)
    _handlers: set["asyncio.Task[None]"] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        self.connections += 1
        self.open += 1
        self._deserted.clear()
        peer = Peer(reader, writer, self.connections)
        try:
            await self.talk(peer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.open -= 1
            if not self.open:
                self._deserted.set()
            writer.transport.abort()

    async def talk(self, peer: Peer) -> None:
        """Answer one request after the other."""
        while True:
            self.heard.append(await peer.hear())
            peer.asked += 1
            await self.answer(peer)

    async def deserted(self) -> None:
        """Wait until no connection is open."""
        await self._deserted.wait()

    async def aclose(self) -> None:
        """End all connections."""
        await tasks.stop(*self._handlers)


class Early(Server):
    """Answers before it has read anything."""

    async def talk(self, peer: Peer) -> None:
        """Leave the requests to the answer."""
        await self.answer(peer)


@asynccontextmanager
async def serving(
    answer: Answer, tls: ssl.SSLContext | None = None, kind: type[Server] = Server
) -> AsyncIterator[Server]:
    """An upstream on a free port until the block ends."""
    server = kind(answer)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls, limit=1 << 20)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        await server.aclose()


@asynccontextmanager
async def transport(
    *, tls: ssl.SSLContext | None = None, limit: int | None = None
) -> AsyncIterator[Http1Transport]:
    """A transport until the block ends."""
    opened = Http1Transport(tls, limit)
    try:
        yield opened
    finally:
        await opened.aclose()


def request(
    port: int,
    *,
    method: str = "POST",
    clocks: Mapping[str, float] = CLOCKS,
    scheme: str = "http",
    host: str = "127.0.0.1",
    body: bytes = BODY,
) -> httpx2.Request:
    """A request with a body of known length."""
    return httpx2.Request(
        method,
        f"{scheme}://{host}:{port}/v1/chat/completions",
        headers=[(b"host", b"up"), (b"content-length", str(len(body)).encode())],
        stream=httpx2.ByteStream(body),
        extensions={"timeout": clocks},
    )


class Pieces(httpx2.AsyncByteStream):
    """A request's body that comes in pieces."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces


def upload(
    port: int, pieces: AsyncIterator[bytes], length: int | None = None, clocks: Mapping[str, float] = CLOCKS
) -> httpx2.Request:
    """A request whose body comes in pieces; chunked without a length."""
    framing = (b"transfer-encoding", b"chunked") if length is None else (b"content-length", b"%d" % length)
    return httpx2.Request(
        "POST",
        f"http://127.0.0.1:{port}/v1/files",
        headers=[(b"host", b"up"), framing],
        stream=Pieces(pieces),
        extensions={"timeout": clocks},
    )


async def body_of(response: httpx2.Response) -> bytes:
    """The body to its end; the stream is closed."""
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    try:
        return b"".join([piece async for piece in response.stream])
    finally:
        await response.stream.aclose()


async def ask(sender: httpx2.AsyncBaseTransport, asked: httpx2.Request) -> tuple[int, bytes]:
    """Status and body."""
    response = await sender.handle_async_request(asked)
    return response.status_code, await body_of(response)
