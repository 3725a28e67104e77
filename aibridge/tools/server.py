"""One MCP server: connected, watched, listed and reconnected by one owner task, stopped by an event.

Whatever is wrong with it delays and fails nothing else: callers get its last known tools, or none, and calls
wait a little for the connection. Stopping by an event and not by `cancel()`: anyio's teardown can swallow one
native cancel. mcp is imported here only through `session`, in a thread, when the server starts.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

import structlog

from aibridge import tasks
from aibridge.config import McpServer
from aibridge.tools.backoff import Backoff
from aibridge.tools.catalog import Definition
from aibridge.tools.failures import CallFailed, ConnectFailed, NotRun

if TYPE_CHECKING:
    from aibridge.tools.session import Session

CONNECT_TIMEOUT = 15.0
"""Seconds until an HTTP server has answered and listed its tools."""
START_TIMEOUT = 60.0
"""Seconds for a stdio server, whose `npx` or `uvx` may have to download it first."""
LIST_TIMEOUT = 30.0
RELIST_EVERY = 300.0
"""Seconds; a server need not tell its changes, and a stream that tells them can be cut without a sign."""
PATIENCE = 8.0
"""Seconds that a call waits for the connection of a server that is away."""
KEPT_AWAY = 60.0
"""Seconds for which the tools of a server that is away are offered: a blip keeps the prompt's prefix."""
LAST_ANSWERS = 1.0
"""Seconds that running calls have to get their own answers once the session is lost: an answer that says
that the call was refused lets it be sent again, a session that is closed under it does not."""
STOP_GRACE = 8.0
"""Seconds for an orderly end; the SDK takes up to 6 s to end a program that ignores its closed stdin."""

State = Literal["connecting", "connected", "unavailable"]

log = structlog.get_logger(__name__)


class Server:
    """The connection to one server, for as long as aibridge runs."""

    def __init__(
        self,
        name: str,
        target: object,
        *,
        mode: Literal["auto", "legacy"] = "auto",
        timeout: float = 60.0,
        connect_timeout: float | None = None,
        kept_away: float = KEPT_AWAY,
    ) -> None:
        """`target` is an McpServer or a server object of mcp; `timeout` is for one call. All in seconds."""
        self.name = name
        self.attempted = asyncio.Event()
        """The first attempt to connect has ended, well or badly."""
        self.error: str | None = None
        """One sentence: why it is not connected."""
        self._logged: str | None = None
        self._target, self._mode, self._timeout = target, mode, timeout
        stdio = isinstance(target, McpServer) and target.command is not None
        self._connect_timeout = connect_timeout or (START_TIMEOUT if stdio else CONNECT_TIMEOUT)
        self._kept_away = kept_away
        self._session: Session | None = None
        self._tools: tuple[Definition, ...] = ()
        self._away_since: float | None = None
        self._ready, self._over, self._stopping = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._stale, self._idle = asyncio.Event(), asyncio.Event()
        self._idle.set()
        self._running = 0
        self._lived = False
        self._connecting: asyncio.Timeout | None = None
        self._owner: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to connect; returns at once."""
        self._owner = tasks.start(self._live(), f"mcp:{self.name}")

    async def aclose(self) -> None:
        """End the connection and its program; calls that still run end with CallFailed."""
        self._stopping.set()
        self._over.set()
        if self._connecting is not None and not self._connecting.expired():
            self._connecting.reschedule(asyncio.get_running_loop().time())
        if self._owner is not None:
            await asyncio.wait({self._owner}, timeout=STOP_GRACE)
            await tasks.stop(self._owner)
        self.error = "It was stopped."
        self._ready.set()  # for calls that wait for the connection

    @property
    def state(self) -> State:
        """Whether it can be called right now."""
        if self._session is not None:
            return "connected"
        return "connecting" if self.error is None else "unavailable"

    def tools(self) -> tuple[Definition, ...]:
        """Its tools: the same tuple until they change, empty when it has been away too long."""
        away = self._session is None and self._away_since is not None
        if away and time.monotonic() - (self._away_since or 0.0) > self._kept_away:
            return ()
        return self._tools

    async def call(self, tool: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """The wire form of the tool's result, within the server's `timeout`; raises CallFailed.

        A call is sent again only if the server provably never began it.
        """
        try:
            async with asyncio.timeout(self._timeout):
                try:
                    return await self._send(tool, arguments)
                except NotRun:
                    return await self._send(tool, arguments)
        except TimeoutError:
            raise CallFailed(
                "timeout",
                f"The tool {tool!r} of the server {self.name!r} gave no answer within {self._timeout:g} s;"
                " it was told to stop, but may have been carried out.",
            ) from None

    async def _send(self, tool: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        session = await self._connected()
        self._running += 1
        self._idle.clear()
        try:
            return await session.call(tool, arguments)
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()

    async def _connected(self) -> "Session":
        try:
            async with asyncio.timeout(min(PATIENCE, self._timeout / 2)):
                while self._session is None:
                    if self._stopping.is_set():
                        raise CallFailed("error", f"The MCP server {self.name!r} was stopped.")
                    await self._ready.wait()
        except TimeoutError:
            why = self.error or "It is still connecting."
            raise CallFailed("error", f"The MCP server {self.name!r} is not connected. {why}") from None
        return self._session

    async def _live(self) -> None:
        """The owner task: the only one that enters and leaves sessions."""
        connect = (await asyncio.to_thread(import_module, "aibridge.tools.session")).connect
        backoff = Backoff(0.2, 30.0)
        while not self._stopping.is_set():
            begun = time.monotonic()
            try:
                await self._one_session(connect)
            except ConnectFailed as error:
                self._ended(error.sentence)
            except TimeoutError:
                self._ended(f"It did not answer within {self._connect_timeout:g} s.")
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                self._ended("Its connection ended.")  # left over from a cancel scope of anyio
            self._gone()
            self._log_trouble()
            self.attempted.set()
            await self._pause(backoff.after(time.monotonic() - begun))

    async def _one_session(self, connect: Callable[..., Any]) -> None:
        """One session from beginning to end."""
        self._over.clear()
        self._lived = False
        if self._stopping.is_set():
            return
        helpers: list[asyncio.Task[None]] = []
        try:
            async with AsyncExitStack() as stack:
                try:
                    async with asyncio.timeout(self._connect_timeout) as self._connecting:
                        opening = connect(self.name, self._target, self._mode, self._lost, self._stale.set)
                        session: Session = await stack.enter_async_context(opening)
                        self._tools = await session.tools()
                finally:
                    self._connecting = None
                self._came(session)
                helpers += [
                    tasks.start(self._keep_listed(session), f"mcp:{self.name}:list"),
                    tasks.start(self._keep_watched(session), f"mcp:{self.name}:watch"),
                ]
                await self._over.wait()
                await self._last_answers()
        finally:
            await tasks.stop(*helpers)

    async def _last_answers(self) -> None:
        if not self._stopping.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_ANSWERS):
                    await self._idle.wait()

    def _came(self, session: "Session") -> None:
        if self._over.is_set():  # lost again before it was ready
            return
        log.info("mcp server connected", server=self.name, tools=len(self._tools), protocol=session.protocol)
        self._session, self._away_since, self._lived = session, None, True
        self.error = self._logged = None
        self._ready.set()
        self.attempted.set()

    def _lost(self, sentence: str) -> None:
        """From this instant no new call uses the session."""
        if not self._over.is_set():
            self.error = sentence
        self._gone()
        self._over.set()

    def _gone(self) -> None:
        if self._session is not None:
            self._session, self._away_since = None, time.monotonic()
        self._ready.clear()

    def _ended(self, sentence: str) -> None:
        """A session ended with an error; how a lost one comes apart does not matter any more."""
        if not self._stopping.is_set() and not (self._lived and self._over.is_set()):
            self.error = sentence

    def _log_trouble(self) -> None:
        if self.error != self._logged:  # not at each new attempt
            log.warning("mcp server unavailable", server=self.name, reason=self.error)
        self._logged = self.error

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    async def _keep_listed(self, session: "Session") -> None:
        """List again when something changed, and now and then."""
        while True:
            try:
                async with asyncio.timeout(RELIST_EVERY):
                    await self._stale.wait()
            except TimeoutError:
                log.debug("mcp tools listed again", server=self.name)
            self._stale.clear()
            try:
                async with asyncio.timeout(LIST_TIMEOUT):
                    tools = await session.tools()
            except TimeoutError:
                log.warning("mcp tools not listed", server=self.name, reason="It did not answer in time.")
                continue
            except ConnectFailed as error:
                log.warning("mcp tools not listed", server=self.name, reason=error.sentence)
                if not self._running:  # else the calls will show whether it still works
                    self._lost(error.sentence)
                continue
            if tools != self._tools:
                self._tools = tools

    async def _keep_watched(self, session: "Session") -> None:
        backoff = Backoff(1.0, 60.0)
        begun = time.monotonic()
        while await session.watch(self._stale.set):
            await asyncio.sleep(backoff.after(time.monotonic() - begun))
            begun = time.monotonic()
