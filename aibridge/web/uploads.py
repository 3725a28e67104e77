"""A request's body that goes on as it comes, however long it is."""

import asyncio
from collections.abc import AsyncIterator

from starlette.types import Receive


class Upload:
    """A request's body as it arrives; who waits for the client's leaving waits until it is whole."""

    def __init__(self, receive: Receive, begun: bytes = b"", *, more: bool = True) -> None:
        """`begun`: what was read of it already; `more`: that was not all."""
        self._receive, self._begun, self._more = receive, begun, more
        self._whole = asyncio.Event()
        self._left = False

    async def pieces(self) -> AsyncIterator[bytes]:
        """The pieces; when the client leaves no more come, and whoever waits in `after` hears of it."""
        if begun := self._begun:
            self._begun = b""
            yield begun
        while self._more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._left = True
                self._whole.set()
                await asyncio.Event().wait()  # until the exchange is cancelled
            if piece := message.get("body", b""):
                yield piece
            self._more = message.get("more_body", False)
        self._whole.set()

    async def after(self) -> dict[str, str]:
        """What comes after the body: the client's leaving."""
        await self._whole.wait()
        return {"type": "http.disconnect"} if self._left else dict(await self._receive())
