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
from aibridge.tools.clock import CallClock
from aibridge.tools.definitions import NOTHING, Listing
from aibridge.tools.failures import CallFailed, ConnectFailed, NotRun
from aibridge.tools.keeping import Keeping, ProcessShelf
from aibridge.tools.listing import ToolList
from aibridge.tools.vitals import Vitals

if TYPE_CHECKING:
    from aibridge.tools.session import Session

CONNECT_TIMEOUT = 15.0
"""Seconds until an HTTP server has answered and listed its tools."""
START_TIMEOUT = 60.0
"""Seconds for a stdio server, whose `npx` or `uvx` may have to download it first."""
PATIENCE = 8.0
"""Seconds that a call waits for the connection of a server that is away."""
FIRST_CONNECT = 2.0
"""Seconds from its start for which an exchange waits for a server that never was connected yet."""
KEPT_AWAY = 60.0
"""Seconds for which the tools of a server that is away are offered: a blip keeps the prompt's prefix."""
LAST_ANSWERS = 1.0
"""Seconds that running calls have to get their own answers once the session is lost: an answer that says
that the call was refused lets it be sent again, a session that is closed under it does not."""
RESTARTS = 8
"""Starts of a program in a row that ended soon, before it is only tried now and then."""
SLOW_PACE = 300.0
"""Seconds between the starts of a program that keeps ending."""
STOP_GRACE = 8.0
"""Seconds for an orderly end; the SDK takes up to 6 s to end a program that ignores its closed stdin."""

TOO_OFTEN = f" It ended too often; it is started again every {SLOW_PACE / 60:g} minutes or so."

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
        timeout_total: float = 600.0,
        connect_timeout: float | None = None,
        kept_away: float = KEPT_AWAY,
        keeping: Keeping | None = None,
    ) -> None:
        """`target` is an McpServer or a server object of mcp. All times in seconds.

        `timeout` is for a call that gives no sign of life, `timeout_total` for any.
        """
        self.name = name
        self.vitals = Vitals()
        self.known = asyncio.Event()
        """Its tools are known from an earlier run, or the first attempt to connect has ended."""
        self.error: str | None = None
        """One sentence: why it is not connected."""
        self._logged: str | None = None
        self._target, self._mode = target, mode
        self._timeout, self._timeout_total = timeout, timeout_total
        stdio = isinstance(target, McpServer) and target.command is not None
        self._connect_timeout = connect_timeout or (START_TIMEOUT if stdio else CONNECT_TIMEOUT)
        self._backoff = Backoff(0.2, 30.0, RESTARTS if stdio else None, SLOW_PACE)
        self._kept_away = kept_away
        self._session: Session | None = None
        self._list = ToolList(name, keeping or Keeping(ProcessShelf(), name))
        self._away_since: float | None = None
        self._ready, self._over, self._stopping = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._running = 0
        self._lived = False
        self._started: float | None = None
        self._connecting: asyncio.Timeout | None = None
        self._owner: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to connect, the first time; returns at once."""
        if self._owner is not None:
            return
        self._started = time.monotonic()
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

    @property
    def first_wait(self) -> float:
        """Seconds for which a request waits until `known` is set; 0 as soon as it is."""
        if self.known.is_set() or self._started is None:
            return 0.0
        return max(0.0, self._started + FIRST_CONNECT - time.monotonic())

    @property
    def is_away(self) -> bool:
        """Whether it is not there, and has been so for too long for its tools to be offered."""
        return self._session is None and self.listing() is NOTHING

    def listing(self) -> Listing:
        """Its tools: the same object until they change, NOTHING when it has been away too long."""
        away = self._session is None and self._away_since is not None
        if away and time.monotonic() - (self._away_since or 0.0) > self._kept_away:
            return NOTHING
        return self._list.now

    async def call(self, tool: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """The wire form of the tool's result, within the server's time limits; raises CallFailed.

        A call is sent again only if the server provably never began it.
        """
        clock = CallClock(self._timeout, self._timeout_total)
        begun, well = time.monotonic(), False
        self.vitals.running += 1
        try:
            async with clock:
                try:
                    result = await self._send(tool, arguments, clock.alive)
                except NotRun:
                    result = await self._send(tool, arguments, clock.alive)
            well = True
            return result
        except TimeoutError:
            raise CallFailed(
                "timeout",
                f"The tool {tool!r} of the server {self.name!r} {clock.verdict};"
                " it was told to stop, but may have been carried out.",
            ) from None
        finally:
            self.vitals.called(time.monotonic() - begun, well=well)

    async def _send(
        self, tool: str, arguments: Mapping[str, Any], alive: Callable[[], None]
    ) -> Mapping[str, Any]:
        session = self._session or await self._connected()
        self._running += 1
        self._idle.clear()
        try:
            return await session.call(tool, arguments, alive)
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
                    if self._backoff.is_slow:
                        raise TimeoutError  # it will not be there soon
                    await self._ready.wait()
        except TimeoutError:
            why = self.error or "It is still connecting."
            raise CallFailed("error", f"The MCP server {self.name!r} is not connected. {why}") from None
        return self._session

    async def _live(self) -> None:
        """The owner task: the only one that enters and leaves sessions."""
        if await self._list.remember():  # what it had before aibridge was restarted
            self._away_since = time.monotonic()
            self.known.set()
        connect = (await asyncio.to_thread(import_module, "aibridge.tools.session")).connect
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
            wait = self._backoff.after(time.monotonic() - begun)
            if self._backoff.is_slow and self.error:
                self.error = f"{self.error.removesuffix(TOO_OFTEN)}{TOO_OFTEN}"
            self._log_trouble()
            self.known.set()
            await self._pause(wait)

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
                        opening = connect(self.name, self._target, self._mode, self._lost, self._list.changed)
                        session: Session = await stack.enter_async_context(opening)
                        await self._list.ask(session)
                finally:
                    self._connecting = None
                self._came(session)
                helpers += [
                    tasks.start(self._list.keep(session, self._unlisted), f"mcp:{self.name}:list"),
                    tasks.start(self._list.watch(session), f"mcp:{self.name}:watch"),
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
        tools = len(self._list.now.tools)
        log.info("mcp server connected", server=self.name, tools=tools, protocol=session.protocol)
        self._session, self._away_since, self._lived = session, None, True
        self.error = self._logged = None
        self.vitals.came()
        self._ready.set()
        self.known.set()

    def _lost(self, sentence: str) -> None:
        """From this instant no new call uses the session."""
        if not self._over.is_set():
            self.error = sentence
        self._gone()
        self._over.set()

    def _gone(self) -> None:
        self.vitals.left(self.error)
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

    def _unlisted(self, sentence: str) -> None:
        if not self._running:  # else the calls will show whether it still works
            self._lost(sentence)
