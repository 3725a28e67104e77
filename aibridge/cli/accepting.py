"""Takes connections that come together together.

uvloop takes one a turn of its loop, and in that turn all that were taken before ask for something: the last
of N that come at once would wait for N²/2 requests, which is a second for 64.
"""

import asyncio
import socket
from collections.abc import Callable

import structlog

from aibridge import tasks

log = structlog.get_logger(__name__)
AT_ONCE = 128
"""Connections of one turn of the loop: others have to be served meanwhile."""
EXHAUSTED_FOR = 1.0
"""Seconds without a look after one that found no descriptor or memory free, as asyncio's own server does."""


class Accepting:
    """Beside the server of `listening`: takes all that waits there, each for a protocol that `make` gives."""

    def __init__(self, listening: socket.socket, make: Callable[[], asyncio.Protocol]) -> None:
        self._make = make
        self._listening = listening.dup()  # the loop looks at a descriptor for one purpose
        self._listening.setblocking(False)
        self._taken: set[asyncio.Task[object]] = set()
        self._loop = asyncio.get_running_loop()
        self.looking = False
        """Whether connections are looked for; not for a while where nothing is left to take them with."""
        self._look()

    async def aclose(self) -> None:
        """Take nothing more; what was taken is with its protocol when this returns."""
        self._look_away()
        self._listening.close()
        if self._taken:
            await asyncio.wait(self._taken)

    def _look(self) -> None:
        if self._listening.fileno() >= 0:
            self.looking = True
            self._loop.add_reader(self._listening, self._take)

    def _look_away(self) -> None:
        self.looking = False
        self._loop.remove_reader(self._listening)

    def _take(self) -> None:
        for _ in range(AT_ONCE):
            try:
                taken, _address = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                log.warning("no connection can be taken", error=str(error))
                self._look_away()
                self._loop.call_later(EXHAUSTED_FOR, self._look)
                return
            taken.setblocking(False)
            task = tasks.start(self._connect(taken), "connection")
            self._taken.add(task)
            task.add_done_callback(self._taken.discard)

    async def _connect(self, taken: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._make, taken)
        except OSError:  # it went as it came
            taken.close()
