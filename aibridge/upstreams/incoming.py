"""What comes back for one request: the head, then the body as httpx2's stream.

Rules: all that came since the last piece is the next piece, one network read as a rule. The connection goes
back to the pool with the answer's last byte, whoever still reads. An answer that ends, breaks or is left
takes the rest of the request with it. One timer a stream watches for silence, and only while the caller
waits. Being cancelled while waiting ends the connection at once.
"""

import asyncio
from collections.abc import Callable
from typing import Self, TypeVar

import httpx2

from aibridge import tasks
from aibridge.upstreams.connection import Connection
from aibridge.upstreams.headers import Pairs
from aibridge.upstreams.http1 import AnswerParser, Broken

T = TypeVar("T")
UNREAD = 256 << 10
"""Bytes of a body that may wait for the caller; then reading pauses."""
AFTER_END = 0.05
"""Seconds that the end of a body may lag behind its last event; a later one costs the connection."""


class Incoming(httpx2.AsyncByteStream):
    """An answer underway."""

    def __init__(self, connection: Connection, method: str, read_timeout: float | None) -> None:
        self.untouched = True
        """Nothing at all came."""
        self.upload: asyncio.Task[None] | None = None
        """Sends the request's body where that is a stream."""
        self._connection, self._idle = connection, read_timeout
        self._parser = AnswerParser(method)
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._taker: Callable[[bytes], None] | None = None
        """What is given the pieces as they come, while the caller waits for another reason."""
        self._error: Exception | None = None
        self._waits_since = 0.0
        self._left = False
        self._timer: asyncio.TimerHandle | None = None
        """While the caller reads: silence. Once it has left: the end of the answer is late."""

    # The caller's side.

    @property
    def status(self) -> int:
        """Once the head is whole."""
        return self._parser.status

    @property
    def headers(self) -> Pairs:
        """The same."""
        return self._parser.headers

    @property
    def exhausted(self) -> bool:
        """The whole body was taken."""
        return self._parser.ended and not self._parser.waiting

    @property
    def stream(self) -> Self:
        """The body."""
        return self

    async def begun(self) -> None:
        """Wait until the head is whole. Raises httpx2's exceptions, or what the request's body did."""
        try:
            while not self._parser.begun:
                await self._more()
        except BaseException:
            self._break_off()
            await self.aclose()
            raise

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while not self._parser.waiting:
            if self._parser.ended:
                raise StopAsyncIteration
            self._look_for_silence()
            await self._more()
        return self._taken()

    async def pour(self, take: Callable[[bytes], T | None]) -> T | None:
        """Give each piece to `take` in the moment that it comes, without the caller's task in between.

        Ends with what `take` gave, at the first that is not None; None at the body's end. Raises what `take`
        does, and httpx2's exceptions.
        """
        over: asyncio.Future[T] = self._loop.create_future()

        def hand_on(piece: bytes) -> None:
            try:
                given = take(piece)
            except Exception as error:
                over.set_exception(error)
            else:
                if given is None:
                    return
                over.set_result(given)
            self._taker = None
            self._wake()

        self._taker = hand_on
        try:
            while not over.done():
                if self._parser.waiting:
                    hand_on(self._taken())
                elif self._parser.ended:
                    return None
                else:
                    self._look_for_silence()
                    await self._more()
        finally:
            self._taker = None
        return over.result()

    def _taken(self) -> bytes:
        if not self._parser.ended:
            self._connection.resume_reading()
        return self._parser.take()

    def _look_for_silence(self) -> None:
        if self._timer is None and self._idle is not None and self._error is None:
            self._timer = self._loop.call_later(self._idle, self._check_silence)

    async def aclose(self) -> None:
        """Let go of the connection. Nobody is held up for the end of a body that may come any moment."""
        if not self._parser.ended and self._error is None:
            self._error, self._left = httpx2.StreamClosed(), True
            if self._parser.waiting or self.upload is not None:
                self._connection.abort()
            else:
                self._set_timer(self._loop.call_later(AFTER_END, self._connection.abort))
        if self.upload is not None:
            await tasks.stop(self.upload)

    async def _more(self) -> None:
        """Wait until something happened."""
        if self._error is not None:
            raise self._error
        self._waiter = self._loop.create_future()
        self._waits_since = self._loop.time()
        try:
            await self._waiter
        except asyncio.CancelledError:
            self._break_off()
            raise
        finally:
            self._waiter = None

    def _break_off(self) -> None:
        """End the connection; after the answer's end it is no longer ours."""
        if not self._parser.ended:
            self._connection.abort()

    # The connection's side.

    def received(self, data: bytes) -> None:
        """Bytes came."""
        self.untouched = False
        try:
            self._parser.feed(data)
        except Broken as error:
            self.failed(httpx2.RemoteProtocolError(str(error)))
            return
        if self._parser.ended:
            self._finish()
        elif self._taker is not None and self._parser.waiting and self._waiter is not None:
            self._waits_since = self._loop.time()
            self._taker(self._parser.take())
            return
        else:
            self._go_on()
        self._wake()

    def _go_on(self) -> None:
        """The answer is not whole yet."""
        if self._parser.waiting and self._left:
            self._connection.abort()
        elif self._parser.waiting > UNREAD:
            self._connection.pause_reading()
        if self.upload is not None and self._parser.status >= 400:
            self.upload.cancel()  # RFC 9112, 9.3: who is refused stops sending

    def failed(self, error: Exception) -> None:
        """Nothing more will come, because of `error`."""
        if self._parser.ended:
            return
        self._error = self._error or error
        self._set_timer(None)
        if self.upload is not None:
            self.upload.cancel()
        self._connection.abort()
        self._wake()

    def lost(self, error: Exception | None) -> None:
        """The connection ended; None where the other side closed it in order."""
        if error is not None:
            kind = httpx2.WriteError if isinstance(error, BrokenPipeError) else httpx2.ReadError
            self.failed(kind(f"the connection broke: {type(error).__name__}"))
            return
        try:
            self._parser.end()
        except Broken as broken:
            self.failed(httpx2.RemoteProtocolError(str(broken)))
        else:
            self._finish()
            self._wake()

    def _finish(self) -> None:
        """The answer is whole, and with it the exchange over."""
        self._set_timer(None)
        sent = self.upload is None or (self.upload.done() and not self.upload.cancelled())
        if self.upload is not None:
            self.upload.cancel()
        self._connection.release(reusable=self._parser.reusable and sent)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _check_silence(self) -> None:
        """A caller that waits for `read_timeout` seconds ends the body; any other is looked after later."""
        assert self._idle is not None
        rest = self._waits_since + self._idle - self._loop.time() if self._waiter else self._idle
        if rest > 0:
            self._timer = self._loop.call_later(rest, self._check_silence)
        else:
            self.failed(httpx2.ReadTimeout("the upstream sends nothing more"))

    def _set_timer(self, timer: asyncio.TimerHandle | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = timer
