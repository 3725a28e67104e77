"""The ASGI application: what it lives through, from the start through reloads to the stop.

Which request goes where is in `routes`, what the rooms are made of in `rooms`.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx2
import structlog
from starlette.applications import Starlette
from starlette.types import Message, Receive, Scope, Send

from aibridge import config as configuration
from aibridge import records, tasks
from aibridge.config import Config, Source, TakenUp, differences
from aibridge.errors import BridgeError, ConfigError, Kind
from aibridge.facts import RoundEnded
from aibridge.rooms import Rooms, furnish, open_lasting
from aibridge.routes import Routes
from aibridge.telemetry.counters import Counters
from aibridge.web.api import Reloaded
from aibridge.web.guard import guarded
from aibridge.web.peers import Peers, Worker
from aibridge.web.underway import Underway

log = structlog.get_logger(__name__)
RELOADING = 30.0
"""Seconds that another worker has to take up the configuration."""
NO_TOOLS: Mapping[str, object] = MappingProxyType({})


class App:
    """The ASGI application."""

    def __init__(
        self,
        config: Config,
        in_process: Mapping[str, object],
        transport: httpx2.AsyncBaseTransport | None,
        worker: Worker | None = None,
        source: Source | None = None,
    ) -> None:
        self.config = config
        self._source = source
        self._secrets = config.secrets()
        self._taking_up = asyncio.Lock()
        self._leaving: set[asyncio.Task[None]] = set()
        """Old rooms, until the last exchange that uses them has ended."""
        self.failure: str | None = None
        """Why the application could not start, in one sentence."""
        self.prices = records.prices_of(config)
        """What rounds cost; the same for records, budgets and metrics."""
        self._in_process, self._transport = in_process, transport
        self._worker = worker
        self._peers = (
            Peers(worker, {"metrics": self._own_metrics, "reload": self._told_reload}) if worker else None
        )
        self._rooms: Rooms | None = None
        self._counters = Counters(self._price)
        self._underway = Underway(self._serve)
        self._living = Starlette(lifespan=self._lifespan)
        self._furnish()

    def _furnish(self) -> None:
        """What serves requests by the configuration as it is now."""
        config = self.config
        self._routes = Routes(config, self)
        open_to_any = config.access.keys == "required"  # a name that was bent here does not bring a key
        hosts = [*config.server.allowed_hosts, config.server.host, *(["*"] * open_to_any)]
        self._guarded = guarded(self._underway, hosts, config.server.allowed_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        else:
            await self._guarded(scope, receive, send)

    def refuse(self) -> None:
        """Answer what comes from now on with 503; what runs goes on."""
        self._underway.refuse()

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The lifespan; where it cannot start the server is told our sentence instead of a stack."""

        async def tell(message: Message) -> None:
            failed = message["type"] == "lifespan.startup.failed"
            await send({**message, "message": self.failure} if failed and self.failure else message)

        await self._living(scope, receive, tell)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """By the routes of now; a reload changes them for what comes later."""
        await self._routes(scope, receive, send)

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        try:
            recorder = await asyncio.to_thread(records.records_for, self.config.records, self.prices)
        except records.RecordsError as error:
            self.failure = str(error)
            raise
        lasting = await open_lasting(
            self.config, recorder, self._price, self._counters, self._in_process, self._transport
        )
        rooms = self._rooms = furnish(self.config, lasting)
        rooms.toolbox.start()
        self.prices.load_ahead()
        if self._peers is not None:
            await self._peers.start()
        try:
            yield
        finally:
            rooms, self._rooms = self.rooms(), None
            if self._peers is not None:
                await self._peers.aclose()
            await self._underway.end()
            await asyncio.gather(*self._leaving)
            await rooms.aclose()
            await lasting.access.aclose()
            await asyncio.to_thread(recorder.close)
            await asyncio.to_thread(lasting.traces.close)

    @property
    def can_reload(self) -> bool:
        """Whether there is a file, or the like, to read anew."""
        return self._source is not None

    async def reload(self) -> TakenUp:
        """Take up the configuration as it is now; which keys changed, and which wait for a restart.

        New exchanges get the new rooms; those that run keep theirs. Raises ConfigError, and then nothing
        has changed.
        """
        if self._source is None:
            raise ConfigError("aibridge was started without a file; there is nothing to read anew")
        async with self._taking_up:
            wanted = await asyncio.to_thread(self._source.read)
            config, waiting = configuration.keep_fixed(self.config, wanted)
            taken = TakenUp(differences(self.config, config), waiting)
            if config != self.config:
                self._take_up(config, self._source)
        log.info("the configuration was taken up", **taken._asdict())
        return taken

    def _take_up(self, config: Config, source: Source) -> None:
        before = self.rooms()
        rooms = furnish(config, before.lasting, before)
        self._secrets |= config.secrets()
        source.log(config.telemetry.log, self._secrets)
        self.config, self._rooms = config, rooms
        self._furnish()
        rooms.toolbox.start()
        left = tasks.start(_leave(before, rooms, self._underway.running()), "rooms:left")
        self._leaving.add(left)
        left.add_done_callback(self._leaving.discard)

    async def reload_or_tell(self) -> None:
        """Take up the configuration at a signal; the log says what is wrong with it."""
        try:
            taken = await self.reload()
        except (BridgeError, ConfigError) as error:
            log.error("the configuration was not taken up", error=str(error))
            return
        if self._worker is None or self._worker.index == 0:  # all workers get the signal
            await self._audit("signal", taken._asdict())

    async def _audit(self, actor: str, detail: dict[str, Any]) -> None:
        """Note a reload, which has happened: a database that is away does not undo it."""
        try:
            await asyncio.to_thread(self.rooms().access.administration.reloaded, actor, detail)
        except records.DatabaseFailing as error:
            log.warning("a reload is not in the audit", actor=actor, error=str(error), **detail)

    async def _told_reload(self) -> bytes:
        """For another worker: `ok`, or why not."""
        try:
            await self.reload()
        except (BridgeError, ConfigError) as error:
            return str(error).encode()
        return b"ok"

    async def reload_all(self, actor: str) -> Reloaded:
        """Take up the configuration in all workers, as `actor` wants it. Raises ConfigError."""
        taken = await self.reload()
        answers = await self._peers.ask("reload", RELOADING) if self._peers else {}
        if self._source is not None:
            self._source.spread()
        failed = [
            f"worker {index}: {(answer or b'it did not answer').decode()}"
            for index, answer in answers.items()
            if answer != b"ok"
        ]
        told = Reloaded(
            needs_restart=taken.needs_restart, workers=1 + len(answers) - len(failed), failed=failed
        )
        await self._audit(actor, {"changed": taken.changed, **told.model_dump()})
        return told

    async def metrics(self) -> bytes:
        """What a scrape is told; of all workers, whichever of them it reaches."""
        own = await self._own_metrics()
        if self._peers is None or self._worker is None:
            return own
        from aibridge.telemetry.merging import merged  # noqa: PLC0415 - only several workers need it

        return merged({self._worker.index: own, **await self._peers.ask("metrics")})

    async def _own_metrics(self) -> bytes:
        rooms = self.rooms()
        recorder = rooms.recorder
        return self._counters.exposition(
            rooms.toolbox.states(), rooms.router.states(), recorder.health(), recorder.lost()
        )

    def _price(self, fact: RoundEnded) -> int:
        """Micro-dollars of a round, as the records price it."""
        when = records.minute_of(fact.ended_at or time.time())
        return self.prices.cost(fact.model, fact.upstream, fact.usage, when, fact.asked).micros

    def rooms(self) -> Rooms:
        """What runs. Raises BridgeError before the start and after the end."""
        if self._rooms is None:
            raise BridgeError(
                Kind.OVERLOADED, "aibridge is not running: its lifespan has not started", retry_after=1
            )
        return self._rooms

    def count_refusal(self, reason: str) -> None:
        """A request was refused for who asked, or how much."""
        self._counters.refusals(reason)

    def full(self) -> str | None:
        """Why nothing more can be recorded, in one sentence."""
        return self._rooms.recorder.refuses() if self._rooms else None

    def states(self) -> dict[str, Any]:
        """The states of all parts, for `/readyz`."""
        worker = {"worker": self._worker.told()} if self._worker else {}
        return {**worker, **self.rooms().states()}


async def _leave(before: Rooms, rooms: Rooms, users: frozenset[asyncio.Task[None]]) -> None:
    """Close what only `before` has, once its `users` have ended."""
    if users:
        await asyncio.wait(users)
    await before.aclose(rooms)


def create_app(
    config: Config | Mapping[str, Any] | str | Path,
    *,
    tools: Mapping[str, object] = NO_TOOLS,
    transport: httpx2.AsyncBaseTransport | None = None,
    worker: Worker | None = None,
    source: Source | None = None,
) -> App:
    """The application for `config`: a path, a plain mapping, or the model. Raises ConfigError.

    `tools` holds MCP servers that live in this process (`MCPServer` objects of the mcp package) by name.
    `transport` carries upstream requests instead of aibridge's own, for example httpx2's. `worker` says which
    of several processes on one port this is; `source` what a reload reads, a path by default.
    """
    if isinstance(config, str | Path):
        source = source or Source(partial(configuration.load, Path(config)))
        config = source.read()
    elif not isinstance(config, Config):
        config = configuration.parse(config)
    return App(config, tools, transport, worker, source)
