"""The bridged routes, as plain ASGI: read the request, open the exchange, reply."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
from starlette.types import ASGIApp, Receive, Send

from aibridge.bridge.bridge import Bridge, Incoming, Opened
from aibridge.config import Config
from aibridge.dialects import DIALECTS
from aibridge.dialects.base import CallsShown, Dialect, UsageShown
from aibridge.errors import BridgeError, Kind
from aibridge.nouns import Caller
from aibridge.tracing import serving
from aibridge.web.body import ClientLeft, read_body
from aibridge.web.callers import AGENTS, TOOL_BRINGERS, Door, Lease, release
from aibridge.web.headers import Pairs, Scope, header
from aibridge.web.reply import Reply, send_error

MOST_NAMES = 20
"""Tools that a header names."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class BridgeRoute:
    """`POST` of one dialect."""

    dialect: Dialect
    bridge: Callable[[], Bridge]
    door: Door
    max_body: int
    heartbeat: float
    usage: str = "auto"
    show_calls: bool = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        lease: Lease | None = None
        try:
            caller, body = await self._read(scope, receive)
            lease = await self.door.admit(caller, len(body))
            opened = await self._open(scope, caller, body)
            await self._serve(opened, lease, receive, send)
        except ClientLeft:
            return
        except BridgeError as error:
            release(lease)  # before the client can come again
            self.door.refused(error, scope)
            await send_error(send, error, self.dialect)
        except Exception:
            log.exception("a request could not be opened by a bug of aibridge", path=scope["path"])
            failure = BridgeError(Kind.INTERNAL, "aibridge failed; its log says why")
            await send_error(send, failure, self.dialect)
        finally:
            release(lease)

    async def _serve(self, opened: Opened, lease: Lease | None, receive: Receive, send: Send) -> None:
        exchange = opened.exchange
        added = _added(opened)
        if lease is not None:
            lease.serves(exchange.story.exchange_id)
            added.extend(lease.headers)
        reply = Reply(send, self.dialect, exchange.story.exchange_id, added, self.heartbeat)
        with serving(exchange.story.exchange_id, exchange.story.trace):
            await reply.run(exchange.run(), receive)

    async def _read(self, scope: Scope, receive: Receive) -> tuple[Caller, bytes]:
        """Who is calling, and the body. Raises BridgeError and ClientLeft."""
        if scope["method"] != "POST":
            raise BridgeError(Kind.METHOD_NOT_ALLOWED, f"{scope['path']} takes POST, not {scope['method']}")
        media = (header(scope, b"content-type") or "").partition(";")[0].strip().lower()
        if media != "application/json":
            # A page of another origin may send text/plain without asking first.
            given = media or "nothing"
            raise BridgeError(Kind.UNSUPPORTED_MEDIA, f"content-type is {given}; send application/json")
        caller = self.door.identify(scope)
        return caller, await read_body(scope, receive, self.max_body)

    async def _open(self, scope: Scope, caller: Caller, body: bytes) -> Opened:
        incoming = Incoming(
            path=scope["path"],
            headers=scope["headers"],
            body=body,
            caller=caller,
            query=scope.get("query_string", b"").decode("latin-1"),
            upstream=scope.get("aibridge.upstream"),
            brings_tools=caller.client in TOOL_BRINGERS,
            wanted_tools=header(scope, b"x-aibridge-tools"),
            usage=_usage_shown(scope, caller, self.usage),
            calls=_calls_shown(scope, show=self.show_calls),
            recall=header(scope, b"x-aibridge-recall") != "off",
        )
        return await self.bridge().open(self.dialect, incoming)


def bridge_routes(bridge: Callable[[], Bridge], door: Door, config: Config) -> dict[str, ASGIApp]:
    """The route of each dialect, by its path."""
    routes: dict[str, ASGIApp] = {}
    for dialect in DIALECTS:
        route = BridgeRoute(
            dialect,
            bridge=bridge,
            door=door,
            max_body=config.server.max_body,
            heartbeat=config.bridge.heartbeat,
            usage=config.bridge.usage,
            show_calls=config.bridge.show_calls,
        )
        routes[f"/v1{dialect.path}"] = routes[dialect.path] = route  # users forget the /v1
    return routes


def _added(opened: Opened) -> Pairs:
    headers: Pairs = []
    if opened.tools_off:
        headers.append((b"x-aibridge-tools", f"off; reason={opened.tools_off}".encode()))
    story = opened.exchange.story
    if story.unavailable:
        headers.append((b"x-aibridge-mcp-unavailable", ", ".join(story.unavailable).encode()))
    if story.left_out:
        headers.append((b"x-aibridge-tools-left-out", _shortened(story.left_out).encode()))
    return headers


def _shortened(names: Sequence[str]) -> str:
    """The first of `names`, and how many more there are: servers in between refuse long headers."""
    more = len(names) - MOST_NAMES
    shown = ", ".join(names[:MOST_NAMES])
    return f"{shown}, and {more} more" if more > 0 else shown


def _calls_shown(scope: Scope, *, show: bool) -> CallsShown:
    """Whether injected calls are shown: the client's header, else the configuration."""
    wanted = header(scope, b"x-aibridge-show")
    shown = show if wanted is None else "calls" in [word.strip() for word in wanted.split(",")]
    return "shown" if shown else "hidden"


def _usage_shown(scope: Scope, caller: Caller, default: str) -> UsageShown:
    """What the client is told of several rounds: its header, else the configuration, else what it is.

    Agents take the last answer's usage for the size of their context, and would compact it too early
    if they were told the sum (2-wire.md, Usage shown).
    """
    wanted = header(scope, b"x-aibridge-usage") or default
    if wanted in ("sum", "last"):
        return "last" if wanted == "last" else "sum"
    return "last" if caller.client in AGENTS else "sum"
