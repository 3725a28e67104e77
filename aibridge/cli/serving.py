"""uvicorn, set up for streams, and how it stops: nothing new, a grace for what runs, then the error event.

A second signal ends the grace. Under a supervisor signals only begin a stop, for a terminal or systemd sends
one to each process of a group: the supervisor says when the grace ends, and its death is a stop.
"""

import asyncio
import gc
import signal
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from aibridge import tasks
from aibridge.app import App
from aibridge.cli.accepting import Accepting

STEP = 0.05
"""Seconds between two looks at what still runs."""


class Connection(HttpToolsProtocol):
    """A client's; uvicorn's own, once reset, would wait for the next request for as long as a kept one."""

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended; `exc` says why, where that was not in order."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()


class Serving(uvicorn.Server):
    """Serves `app` until a signal. `started_up` is called when requests are taken."""

    def __init__(
        self, app: App, started_up: Callable[[], None] = lambda: None, channel: socket.socket | None = None
    ) -> None:
        """`channel`: from the supervisor, a word of whom ends the grace; its end says that it is gone."""
        super().__init__(
            uvicorn.Config(
                app,
                lifespan="on",
                http=Connection,
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                proxy_headers=False,
                timeout_keep_alive=75,
            )
        )
        self._app, self._started_up, self._channel = app, started_up, channel
        self._at_once = False
        self._reloading: set[asyncio.Task[None]] = set()
        self._accepting: list[Accepting] = []

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal; uvicorn's own would raise it again at the end, for us the stop is a success."""
        if self._channel is None:
            self._at_once = self._at_once or self.should_exit
        elif sig == signal.SIGINT:
            return  # a terminal sends it to the supervisor too
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then take requests."""
        await super().startup(sockets)
        self._accepting = [Accepting(listening, self._protocol) for listening in sockets or ()]
        if self._channel is not None:
            asyncio.get_running_loop().add_reader(self._channel, self._hear)
        if self._app.can_reload and hasattr(signal, "SIGHUP"):
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)
        gc.freeze()  # what is loaded by now stays: to look it through again would hold up requests for 0.1 s
        self._started_up()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let what runs end within the grace, cancel the rest, and close the application."""
        self._app.refuse()
        for accepting in self._accepting:
            await accepting.aclose()
        for server in self.servers:
            server.close()
        for listening in sockets or ():
            listening.close()
        await tasks.stop(*self._reloading)
        await self._grace(self._app.config.server.shutdown_grace)
        for task in list(self.server_state.tasks):
            task.cancel()
        await self.lifespan.shutdown()

    def _protocol(self) -> asyncio.Protocol:
        """As uvicorn makes it."""
        return Connection(self.config, self.server_state, self.lifespan.state)

    async def _grace(self, seconds: float) -> None:
        """Wait for all connections to end; idle ones are closed, also those that only just came."""
        state, clock = self.server_state, asyncio.get_running_loop().time
        end = clock() + seconds
        while True:
            for connection in list(state.connections):
                connection.shutdown()
            await asyncio.sleep(STEP)
            if self._at_once or clock() > end or not (state.connections or state.tasks):
                return

    def _reload(self) -> None:
        task = tasks.start(self._app.reload_or_tell(), "reload")
        self._reloading.add(task)
        task.add_done_callback(self._reloading.discard)

    def _hear(self) -> None:
        assert self._channel is not None
        if self._channel.recv(1024):  # it has one thing to say
            self._at_once = True
        else:
            asyncio.get_running_loop().remove_reader(self._channel)
        self.should_exit = True
