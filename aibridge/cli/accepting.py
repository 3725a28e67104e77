"""Takes connections that come together together.

uvloop takes one a turn of its loop, and in that turn all that were taken before ask for something: the last
of N that come at once would wait for N²/2 requests, which is a second for 64.
"""

import asyncio
import socket
from collections.abc import Callable

from aibridge import tasks


class Accepting:
    """Beside the server of `listening`: takes all that waits there, each for a protocol that `make` gives."""

    def __init__(self, listening: socket.socket, make: Callable[[], asyncio.Protocol]) -> None:
        self._make = make
        self._listening = listening.dup()  # the loop looks at a descriptor for one purpose
        self._listening.setblocking(False)
        self._taken: set[asyncio.Task[object]] = set()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._listening, self._take)

    def close(self) -> None:
        """Take nothing more."""
        self._loop.remove_reader(self._listening)
        self._listening.close()

    def _take(self) -> None:
        while True:
            try:
                taken, _ = self._listening.accept()
            except OSError:  # none waits; and what else may be is the server's to deal with
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
