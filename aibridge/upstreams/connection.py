"""One connection to an upstream: a socket that serves one exchange after the other.

Rules: it belongs to one `Incoming` at a time, from `begin` to `release` or its end; bytes that nobody
asked for end it; `abort` ends it at once. Reading pauses when the caller does not take what came. What
the bytes mean is left to `Incoming`, which connection is used next to the pool.
"""

import asyncio
from typing import Protocol, cast

import httpx2

KEPT = 15.0
"""Seconds that an unused connection is kept: shorter than common servers and address translators do."""


class Receiver(Protocol):
    """Whoever uses the connection at the moment."""

    def received(self, data: bytes) -> None:
        """Bytes came."""

    def failed(self, error: Exception) -> None:
        """Nothing more will come, because of `error`."""

    def lost(self, error: Exception | None) -> None:
        """The connection ended; None where the other side closed it in order."""


class Owner(Protocol):
    """The pool."""

    def take_back(self, connection: "Connection") -> None:
        """It is free for the next exchange."""

    def forget(self, connection: "Connection") -> None:
        """It has ended."""


class Connection(asyncio.Protocol):
    """An open socket."""

    def __init__(self, owner: Owner) -> None:
        self.closed = False
        self.used_before = False
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self.gone: asyncio.Future[None] = self._loop.create_future()
        """Done once the socket is closed."""
        self._transport: asyncio.Transport
        self._receiver: Receiver | None = None
        self._reading = True
        self._drained: asyncio.Future[None] | None = None
        self._patience: float | None = None
        self._unsent = 0
        self._timer: asyncio.TimerHandle | None = None
        """While it writes: the socket takes nothing. While it is unused: nobody wants it."""

    def begin(self, receiver: Receiver, write_timeout: float | None) -> None:
        """Give what comes to `receiver`."""
        self._set_timer(None)
        self._receiver, self._patience = receiver, write_timeout
        if self.closed:  # between the pool's look and now
            self.connection_lost(None)

    def write(self, data: bytes) -> None:
        """Send `data`, or as much of it as the connection lives to see."""
        if not self.closed:
            self._transport.write(data)

    async def drained(self) -> None:
        """Wait until the socket takes more, or the connection has ended."""
        if self._drained is not None:
            await self._drained

    def pause_reading(self) -> None:
        """Take nothing more from the network."""
        if self._reading and not self.closed:
            self._reading = False
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on after `pause_reading`."""
        if not self._reading and not self.closed:
            self._reading = True
            self._transport.resume_reading()

    def release(self, *, reusable: bool) -> None:
        """The exchange is over; the connection lives on where it is `reusable` and all was sent."""
        self._receiver = None
        if not reusable or self.closed or self._transport.get_write_buffer_size():
            self.abort()
            return
        self.resume_reading()
        self.used_before = True
        self._set_timer(self._loop.call_later(KEPT, self.abort))
        self._owner.take_back(self)

    def abort(self) -> None:
        """End it now; what was not sent is dropped."""
        if not self.closed:
            self.closed = True
            self._transport.abort()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._receiver is None:
            self.abort()
        else:
            self._receiver.received(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        self.resume_writing()
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.lost(error)
        self._owner.forget(self)
        if not self.gone.done():
            self.gone.set_result(None)

    def pause_writing(self) -> None:
        self._drained = self._loop.create_future()
        self._unsent = self._transport.get_write_buffer_size()
        if self._patience is not None:
            self._set_timer(self._loop.call_later(self._patience, self._check_writing))

    def resume_writing(self) -> None:
        self._set_timer(None)
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    def _check_writing(self) -> None:
        """Nothing sent since the last look is a timeout."""
        assert self._patience is not None
        before, self._unsent = self._unsent, self._transport.get_write_buffer_size()
        if self._unsent < before:
            self._set_timer(self._loop.call_later(self._patience, self._check_writing))
        elif self._receiver is not None:
            self._receiver.failed(httpx2.WriteTimeout("the upstream takes nothing more of the request"))

    def _set_timer(self, timer: asyncio.TimerHandle | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = timer
