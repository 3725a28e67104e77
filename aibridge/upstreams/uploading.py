"""A request's body that goes on as its client sends it: the clock of the answer's first byte waits for it.

Each piece winds that clock up again, and so does the body's end. An upstream that takes nothing is looked
after by the transport's own clock. Works with every carrier, since it is the body that is watched.
"""

import asyncio
from collections.abc import AsyncIterator

import msgspec

from aibridge.upstreams.carrying import Carrier, Reply, Sent


async def send_as_it_comes(carrier: Carrier, request: Sent, timeout: float) -> Reply:
    """The answer to `request`; TimeoutError where none came `timeout` seconds after the body's last piece.

    Raises httpx2's exceptions too.
    """
    assert not isinstance(request.body, bytes)
    async with asyncio.timeout(timeout) as clock:
        body = _Watched(request.body, clock, timeout)
        try:
            return await carrier.send(msgspec.structs.replace(request, body=body))
        finally:
            body.clock = None


class _Watched(AsyncIterator[bytes]):
    """The pieces of a body."""

    def __init__(self, pieces: AsyncIterator[bytes], clock: asyncio.Timeout, seconds: float) -> None:
        self.clock: asyncio.Timeout | None = clock
        """None once there is an answer: the rest of the body may follow it."""
        self._pieces, self._seconds = pieces, seconds

    async def __anext__(self) -> bytes:
        try:
            piece = await anext(self._pieces)
        except StopAsyncIteration:
            self._wind_up()
            raise
        self._wind_up()
        return piece

    def _wind_up(self) -> None:
        if self.clock is not None and not self.clock.expired():
            self.clock.reschedule(asyncio.get_running_loop().time() + self._seconds)
