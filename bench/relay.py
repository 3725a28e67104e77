"""The limit of this stack: a plain ASGI callable under uvicorn that passes on requests it knows nothing of.

`python -m bench.relay PORT UPSTREAM`, ports on 127.0.0.1. No framework, tools, keys or records; kept
connections to the upstream, read by httptools; one read of the upstream is one write to the client; a slow
client pauses the upstream, one that leaves ends it. What it costs beyond nginx is the price of Python,
asyncio and uvicorn; what aibridge costs beyond it is aibridge's.
"""

import asyncio
import contextlib
import sys
from collections.abc import Iterable
from typing import cast

import uvicorn
from httptools import HttpParserError, HttpResponseParser
from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope

from aibridge import tasks

Pairs = list[tuple[bytes, bytes]]
NOT_SENT_ON = frozenset({b"host", b"connection", b"content-length", b"transfer-encoding", b"keep-alive"})
OF_ONE_CONNECTION = frozenset({b"connection", b"transfer-encoding", b"keep-alive"})
UNREAD = 256 << 10
"""Bytes that may wait for a slow client; then reading pauses."""


class Upstream(asyncio.Protocol):
    """A connection to the upstream, and the answer that comes on it."""

    def __init__(self) -> None:
        self.usable = True
        self._parser = HttpResponseParser(self)
        self._transport: asyncio.Transport
        self._waiter: asyncio.Future[None] | None = None
        self._clear()

    def _clear(self) -> None:
        self.status, self.headers, self.ended = 0, Pairs(), False
        self._pieces: list[bytes] = []
        self._waiting = 0

    def ask(self, request: bytes) -> None:
        """Send a request; its answer comes in pieces."""
        self._clear()
        self._transport.write(request)

    async def piece(self) -> bytes:
        """All that came of the body since; with the first one status and headers are known.

        Empty where nothing more comes. Raises ConnectionError where the answer is cut.
        """
        while not self._pieces and not self.ended:
            if not self.usable:
                raise ConnectionResetError("the upstream's answer is cut")
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self._waiting > UNREAD and self.usable:
            self._transport.resume_reading()
        pieces, self._pieces, self._waiting = self._pieces, [], 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def abort(self) -> None:
        """End the connection."""
        self.usable = False
        self._transport.abort()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except HttpParserError:
            self.abort()
        if self._waiting > UNREAD:
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        self.usable = False
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # What httptools calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() not in OF_ONE_CONNECTION:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        self._pieces.append(data)
        self._waiting += len(data)

    def on_message_complete(self) -> None:
        self.ended = True
        self.usable = self.usable and self._parser.should_keep_alive()


class Relay:
    """The ASGI application: `/` says that it is up, everything else goes to the upstream."""

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self._free: list[Upstream] = []

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        assert scope["type"] == "http"
        if scope["path"] == "/":
            await _whole(send, 200, b"up")
            return
        body = await _body(receive)
        upstream = await self._connection()
        upstream.ask(_head(scope["method"], scope["raw_path"], scope["headers"], len(body)) + body)
        try:
            await _pass_on(upstream, receive, send)
        finally:
            if upstream.ended and upstream.usable:
                self._free.append(upstream)
            else:
                upstream.abort()

    async def _connection(self) -> Upstream:
        while self._free:
            if (kept := self._free.pop()).usable:
                return kept
        loop = asyncio.get_running_loop()
        _, opened = await loop.create_connection(Upstream, "127.0.0.1", self._upstream)
        return opened


async def _body(receive: ASGIReceiveCallable) -> bytes:
    pieces: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ConnectionResetError("the client left")
        pieces.append(message["body"])
        if not message["more_body"]:
            return b"".join(pieces)


def _head(method: str, path: bytes, headers: Iterable[tuple[bytes, bytes]], length: int) -> bytes:
    lines = [b"%b %b HTTP/1.1\r\nhost: 127.0.0.1\r\n" % (method.encode(), path)]
    lines += [b"%b: %b\r\n" % pair for pair in headers if pair[0] not in NOT_SENT_ON]
    return b"".join([*lines, b"content-length: %d\r\n\r\n" % length])


async def _pass_on(upstream: Upstream, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    watcher: asyncio.Task[None] | None = None
    try:
        piece = await upstream.piece()
        await send(
            {
                "type": "http.response.start",
                "status": upstream.status,
                "headers": upstream.headers,
                "trailers": False,
            }
        )
        while True:
            more = not upstream.ended
            await send({"type": "http.response.body", "body": piece, "more_body": more})
            if not more:
                return
            watcher = watcher or tasks.start(_abort_if_left(receive, upstream), "client-left")
            piece = await upstream.piece()
    except ConnectionError:
        if not upstream.status:
            await _whole(send, 502, b"the upstream does not answer")
    finally:
        if watcher is not None:
            watcher.cancel()


async def _abort_if_left(receive: ASGIReceiveCallable, upstream: Upstream) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    if not upstream.ended:
        upstream.abort()


async def _whole(send: ASGISendCallable, status: int, body: bytes) -> None:
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers, "trailers": False})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def main(port: str, upstream: str) -> None:
    """Serve until SIGTERM."""
    config = uvicorn.Config(
        Relay(int(upstream)),
        port=int(port),
        loop="uvloop",
        http="httptools",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
    )
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
