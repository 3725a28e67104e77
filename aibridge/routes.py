"""Which request goes to which room, by one configuration; a reload makes these routes anew.

Bridged routes are served before Starlette sees them: they are the hot path. What stands before all routes,
and what lives longer than a configuration, is in `app`.
"""

from functools import partial
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from aibridge import records
from aibridge.config import Config
from aibridge.errors import BridgeError, Kind
from aibridge.rooms import Rooms
from aibridge.telemetry.metrics import CONTENT_TYPE
from aibridge.web.api import AdminGuard, Api, ApiRoute, KeyRoutes, Reloaded, RunningRoutes, UsageRoutes
from aibridge.web.bridge_routes import bridge_routes
from aibridge.web.callers import Door
from aibridge.web.health_routes import healthz, metrics, readiness
from aibridge.web.kept_routes import KeptRoute
from aibridge.web.mcp_routes import PATH as MCP_PATH
from aibridge.web.mcp_routes import McpRoute
from aibridge.web.models_routes import models
from aibridge.web.passthrough import Passthrough, passthrough_target, written_path
from aibridge.web.reply import http_error, send_error
from aibridge.web.shapes import shape_of
from aibridge.web.tools_routes import tools_listing


class Running(Protocol):
    """The application, which outlives its routes."""

    @property
    def config(self) -> Config:
        """What is in force."""
        ...

    @property
    def prices(self) -> records.Prices:
        """What rounds cost."""
        ...

    def rooms(self) -> Rooms:
        """What runs. Raises BridgeError before the start and after the end."""
        ...

    def states(self) -> dict[str, Any]:
        """The states of all parts."""
        ...

    def full(self) -> str | None:
        """Why nothing more can be recorded, in one sentence."""
        ...

    def count_refusal(self, reason: str) -> None:
        """A request was refused for who asked, or how much."""
        ...

    async def metrics(self) -> bytes:
        """What a scrape is told."""
        ...

    async def reload_all(self, actor: str) -> Reloaded:
        """Take up the configuration in all workers, as `actor` wants it. Raises ConfigError."""
        ...


class Routes:
    """An ASGI application: the routes of one configuration."""

    def __init__(self, config: Config, running: Running) -> None:
        self._running, self._upstreams = running, config.upstreams
        door = Door(
            config.access.keys,
            lambda: running.rooms().recorder.caller_secret(),
            keys=lambda: running.rooms().access.keyring,
            gate=lambda: running.rooms().access.gate,
            count=running.count_refusal,
        )
        self._hot = bridge_routes(lambda: running.rooms().bridge, door, config)
        self._mcp = McpRoute(lambda: running.rooms().endpoint, door)
        self._elsewhere = KeptRoute(
            answers=lambda: running.rooms().bridge.translations.keeping,
            door=door,
            elsewhere=_passthrough(config, running, door),
            kept_upstream=partial(_speak, config, "responses"),
        )
        self._rest = _rest(config, running, door)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._rest(scope, receive, send)
            return
        if scope["path"] == MCP_PATH:
            await self._mcp(scope, receive, send)
            return
        app, scope = self._recorded(scope)
        if app is not None and (full := self._running.full()):
            refused = BridgeError(Kind.OVERLOADED, full, retry_after=5)
            await send_error(send, refused, shape_of(scope["path"]))
            return
        await (app or self._rest)(scope, receive, send)

    def _recorded(self, scope: Scope) -> tuple[ASGIApp | None, Scope]:
        """What serves the path if it leaves records, and the scope, which names the upstream then."""
        hot = self._hot if scope["method"] == "POST" else {}
        if app := hot.get(scope["path"]):
            return app, scope
        target = passthrough_target(written_path(scope), self._upstreams)
        if target is None:
            return None, scope
        upstream, path = target
        scope = {**scope, "aibridge.upstream": upstream, "aibridge.path": path}
        return hot.get(path, self._elsewhere), scope


def _speak(config: Config, api: str, name: str | None) -> bool:
    """Whether the upstream `name`, or any, speaks `api`."""
    return any(api in each.apis for known, each in config.upstreams.items() if name in (None, known))


def _passthrough(config: Config, running: Running, door: Door) -> Passthrough:
    return Passthrough(
        openers=lambda: running.rooms().router,
        listener=lambda: running.rooms().bridge.listener,
        tracing=lambda: running.rooms().bridge.tracing,
        door=door,
        max_json=config.server.max_body,
        alone=len(config.upstreams) == 1,
        leads=lambda id_: running.rooms().bridge.pointing.target(id_),
    )


def _rest(config: Config, running: Running, door: Door) -> Starlette:
    """What aibridge answers by itself."""
    admin_key = config.access.admin_key
    admin = AdminGuard(admin_key.get_secret_value() if admin_key else None)
    tool_routes = tools_listing(lambda: running.rooms().toolbox, door, inject=config.bridge.inject)
    model_routes = models(lambda: running.rooms().models.merged, door)
    routes = [
        Route("/healthz", healthz),
        Route("/readyz", readiness(running.states, admin.may_see)),
        *([Route("/metrics", metrics(running.metrics, CONTENT_TYPE))] * config.telemetry.metrics),
        *(Route(path, model_routes) for path in ("/v1/models", "/models")),
        *(Route(path, tool_routes) for path in ("/v1/tools", "/tools")),
        Route("/api/{rest:path}", Api(lambda: _api_routes(running), admin, door.refused)),
    ]
    return Starlette(routes=routes, exception_handlers={HTTPException: http_error})


def _api_routes(running: Running) -> tuple[ApiRoute, ...]:
    """The table of `/api`; read with its first request."""
    keys = KeyRoutes(
        lambda: running.rooms().access.administration,
        lambda: running.rooms().access.keyring.look(),
        failing=records.DatabaseFailing,
    )
    usage = UsageRoutes(
        lambda: running.rooms().recorder.questions(running.prices),
        wrong=records.RecordsError,
        failing=records.DatabaseFailing,
    )
    reloading = RunningRoutes(lambda: running.config, running.reload_all)
    return (*usage.routes(), *keys.routes(), *reloading.routes())
