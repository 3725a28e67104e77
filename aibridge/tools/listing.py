"""The list of one server's tools, kept right: asked for when it changes and now and then, compared with pins.

Works on the session that `server.py` opened; a change of the list is a new object, so that what is made of
it is made anew only then.
"""

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from aibridge.tools.backoff import Backoff
from aibridge.tools.definitions import NOTHING, Listing
from aibridge.tools.failures import ConnectFailed
from aibridge.tools.keeping import Keeping

if TYPE_CHECKING:
    from aibridge.tools.session import Session

LIST_TIMEOUT = 30.0
RELIST_EVERY = 300.0
"""Seconds; a server need not tell its changes, and a stream that tells them can be cut without a sign."""
ASK_PINS_EVERY = 5.0
"""Seconds between looks whether changed tools were accepted meanwhile, as long as there are any."""

log = structlog.get_logger(__name__)


class ToolList:
    """What is known of one server's tools."""

    def __init__(self, server: str, keeping: Keeping) -> None:
        self._server, self._keeping = server, keeping
        self._stale = asyncio.Event()
        self.now: Listing = NOTHING
        """The newest list; the same object until it changes."""

    def changed(self) -> None:
        """The server says that its tools changed."""
        self._stale.set()

    async def remember(self) -> bool:
        """Take what the server had in an earlier run; False where nothing is known."""
        last = await self._keeping.last()
        if last is not None:
            self.now = last
        return last is not None

    async def ask(self, session: "Session") -> None:
        """Ask the server. Raises ConnectFailed."""
        self._take(await self._keeping.listed(await session.tools()))

    async def keep(self, session: "Session", failed: Callable[[str], None]) -> None:
        """Ask again when something changed, and now and then; `failed` hears why that did not work."""
        while True:
            await self._wait()
            self._stale.clear()
            try:
                async with asyncio.timeout(LIST_TIMEOUT):
                    await self.ask(session)
            except TimeoutError:
                log.warning("mcp tools not listed", server=self._server, reason="It did not answer in time.")
            except ConnectFailed as error:
                log.warning("mcp tools not listed", server=self._server, reason=error.sentence)
                failed(error.sentence)

    async def watch(self, session: "Session") -> None:
        """Listen for changes, again whenever the stream that tells them ends."""
        backoff = Backoff(1.0, 60.0)
        begun = time.monotonic()
        while await session.watch(self.changed):
            await asyncio.sleep(backoff.after(time.monotonic() - begun))
            begun = time.monotonic()

    async def _wait(self) -> None:
        """Until the list has to be asked for again; meanwhile look for tools that were accepted."""
        end = time.monotonic() + RELIST_EVERY
        while (left := end - time.monotonic()) > 0:
            try:
                async with asyncio.timeout(min(left, ASK_PINS_EVERY) if self.now.changed else left):
                    await self._stale.wait()
                    return
            except TimeoutError:
                if self.now.changed:
                    self._take(await self._keeping.listed(self.now.tools))

    def _take(self, listing: Listing) -> None:
        if listing != self.now or self.now is NOTHING:
            self.now = listing
