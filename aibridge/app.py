"""The ASGI application: which request goes to which room, from the start through reloads to the stop.

What the rooms are made of is in `rooms`.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx2
import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from aibridge import config as configuration
from aibridge import records, tasks
from aibridge.config import Config, Source
from aibridge.errors import BridgeError, ConfigError, Kind
from aibridge.nouns import RoundEnded
from aibridge.rooms import Rooms, furnish, open_lasting
from aibridge.telemetry.counters import Counters
from aibridge.telemetry.metrics import CONTENT_TYPE
from aibridge.web.api import AdminGuard, Api, ApiRoute, KeyRoutes, Reloaded, RunningRoutes, usage_routes
from aibridge.web.bridge_routes import bridge_routes
from aibridge.web.callers import Door
from aibridge.web.guard import guarded
from aibridge.web.health_routes import healthz, metrics, readiness
from aibridge.web.mcp_routes import PATH as MCP_PATH
from aibridge.web.mcp_routes import McpRoute
from aibridge.web.models_routes import models
from aibridge.web.passthrough import Passthrough, passthrough_target
from aibridge.web.peers import Peers, Worker
from aibridge.web.reply import http_error, send_error
from aibridge.web.tools_routes import tools_listing
from aibridge.web.underway import Underway

log = structlog.get_logger(__name__)
RELOADING = 30.0
"""Seconds that another worker has to take up the configuration."""
NO_TOOLS: Mapping[str, object] = MappingProxyType({})


class App:
    """The ASGI application. Bridged routes are served before Starlette sees them: they are the hot path."""

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
        self._underway = Underway(self._dispatch)
        self._furnish()

    def _furnish(self) -> None:
        """What serves requests by the configuration as it is now."""
        config = self.config
        self._door = Door(
            config.access.keys,
            self._secret,
            keys=lambda: self.rooms().access.keyring,
            gate=lambda: self.rooms().access.gate,
        )
        admin_key = config.access.admin_key
        admin = AdminGuard(admin_key.get_secret_value() if admin_key else None)
        self._hot = bridge_routes(lambda: self.rooms().bridge, self._door, config)
        self._passthrough = Passthrough(
            openers=lambda: self.rooms().router,
            listener=lambda: self.rooms().bridge.listener,
            tracing=lambda: self.rooms().bridge.tracing,
            door=self._door,
            max_json=config.server.max_body,
            leads=lambda id_: self.rooms().bridge.pointing.target(id_),
        )
        self._mcp = McpRoute(lambda: self.rooms().endpoint, self._door)
        tool_routes = tools_listing(
            lambda: self.rooms().toolbox, self._door, inject=self.config.bridge.inject
        )
        model_routes = models(lambda: self.rooms().models.merged, self._door)
        self._rest = Starlette(
            routes=[
                Route("/healthz", healthz),
                Route("/readyz", readiness(self.states, admin.may_see)),
                *([Route("/metrics", metrics(self._metrics, CONTENT_TYPE))] * config.telemetry.metrics),
                *(Route(path, model_routes) for path in ("/v1/models", "/models")),
                *(Route(path, tool_routes) for path in ("/v1/tools", "/tools")),
                Route("/api/{rest:path}", Api(self._api_routes, admin)),
            ],
            exception_handlers={HTTPException: http_error},
            lifespan=self._lifespan,
        )
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

        await self._rest(scope, receive, tell)

    async def _dispatch(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._rest(scope, receive, send)
            return
        if scope["path"] == MCP_PATH:
            await self._mcp(scope, receive, send)
            return
        app = self._hot.get(scope["path"]) if scope["method"] == "POST" else None
        if app is None and (target := passthrough_target(scope["path"], self.config.upstreams)):
            name, path = target
            scope = {**scope, "aibridge.upstream": name, "aibridge.path": path}
            hot = self._hot.get(path) if scope["method"] == "POST" else None
            app = hot or self._passthrough
        if app is not None and self._rooms and (full := self._rooms.recorder.refuses()):
            await send_error(send, BridgeError(Kind.OVERLOADED, full, retry_after=5))
            return
        await (app or self._rest)(scope, receive, send)

    def _api_routes(self) -> tuple[ApiRoute, ...]:
        """The table of `/api`; read with its first request."""
        keys = KeyRoutes(
            lambda: self.rooms().access.administration,
            lambda: self.rooms().access.keyring.look(),
            failing=records.DatabaseFailing,
        )
        usage = usage_routes(
            lambda: self.rooms().recorder.questions(self.prices),
            wrong=records.RecordsError,
            failing=records.DatabaseFailing,
        )
        running = RunningRoutes(lambda: self.config, self._reload_all)
        return (*usage, *keys.routes(), *running.routes())

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        try:
            recorder = await asyncio.to_thread(records.open_records, self.config.records, self.prices)
        except records.RecordsError as error:
            self.failure = str(error)
            raise
        lasting = await open_lasting(
            self.config, recorder, self._price, self._counters, self._in_process, self._transport
        )
        rooms = self._rooms = furnish(self.config, lasting)
        rooms.toolbox.start()
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

    async def reload(self) -> list[str]:
        """Take up the configuration as it is now; the keys that wait for a restart.

        New exchanges get the new rooms; those that run keep theirs. Raises ConfigError, and then nothing
        has changed.
        """
        if self._source is None:
            raise ConfigError("aibridge was started without a file; there is nothing to read anew")
        async with self._taking_up:
            wanted = await asyncio.to_thread(self._source.read)
            config, waiting = configuration.keep_fixed(self.config, wanted)
            if config != self.config:
                self._take_up(config, self._source)
        log.info("the configuration was taken up", needs_restart=waiting)
        return waiting

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
        """Take up the configuration; the log says what is wrong with it."""
        try:
            await self.reload()
        except (BridgeError, ConfigError) as error:
            log.error("the configuration was not taken up", error=str(error))

    async def _told_reload(self) -> bytes:
        """For another worker: `ok`, or why not."""
        try:
            await self.reload()
        except (BridgeError, ConfigError) as error:
            return str(error).encode()
        return b"ok"

    async def _reload_all(self) -> Reloaded:
        waiting = await self.reload()
        answers = await self._peers.ask("reload", RELOADING) if self._peers else {}
        if self._source is not None:
            self._source.spread()
        failed = [
            f"worker {index}: {(answer or b'it did not answer').decode()}"
            for index, answer in answers.items()
            if answer != b"ok"
        ]
        return Reloaded(needs_restart=waiting, workers=1 + len(answers) - len(failed), failed=failed)

    async def _metrics(self) -> bytes:
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
        when = datetime.fromtimestamp(fact.ended_at or time.time(), UTC)
        return self.prices.cost(fact.model, fact.upstream, fact.usage, when, fact.asked).micros

    def _secret(self) -> bytes:
        return self.rooms().recorder.caller_secret()

    def rooms(self) -> Rooms:
        """What runs. Raises BridgeError before the start and after the end."""
        if self._rooms is None:
            raise BridgeError(
                Kind.OVERLOADED, "aibridge is not running: its lifespan has not started", retry_after=1
            )
        return self._rooms

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
