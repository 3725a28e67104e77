"""The tools of all configured MCP servers: what an exchange is offered, and the calls of its turns.

Puts servers, catalog and runner together; what the engine needs of it is `bridge.ports.Toolbox`.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from types import MappingProxyType
from typing import Any

import structlog

from aibridge import tasks
from aibridge.config import Bridge, McpServer
from aibridge.errors import BridgeError, Kind
from aibridge.nouns import Call, Explanation, Offer, Result, Tool
from aibridge.tools.branches import FULL, Branches
from aibridge.tools.catalog import Catalog, Rules, may_concern
from aibridge.tools.definitions import NOTHING, Listing
from aibridge.tools.failures import CallFailed, masking, one_sentence
from aibridge.tools.keeping import Keeping
from aibridge.tools.runner import CallFinished, Turn
from aibridge.tools.scopes import Headers, Scope, Scopes
from aibridge.tools.server import Server

SWEEPS_EVERY = 60.0
"""Seconds between two looks for sessions of callers that are idle."""
RETRY_AFTER = 5
"""Seconds that a client is told to wait where a server is away that must not be."""
NONE: Mapping[str, object] = MappingProxyType({})

log = structlog.get_logger(__name__)


class Toolbox:
    """Connections to the servers and a catalog of their tools."""

    def __init__(
        self,
        servers: Sequence[Server | Branches],
        rules: Mapping[str, Rules],
        bridge: Bridge,
        needed: frozenset[str] = frozenset(),
        keeping: Mapping[str, Keeping] = MappingProxyType({}),
        entries: Mapping[str, McpServer] = MappingProxyType({}),
    ) -> None:
        """`needed`: servers without which a request that may use them is refused.

        `entries`: the settings of the servers that have some.
        """
        self._entries = entries
        self._servers = {server.name: server for server in servers}
        self._shared = [server for server in servers if isinstance(server, Server)]
        self._branches = [server for server in servers if isinstance(server, Branches)]
        self._bridge, self._needed, self._keeping = bridge, needed, keeping
        self._scopes = Scopes(self._branches, rules)
        self._skipped: Counter[str] = Counter()
        self._sweeper: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to connect to all servers; returns at once. Needs a running event loop."""
        for server in self._shared:
            server.start()
        if self._branches:
            self._sweeper = tasks.start(self._sweep(), "mcp:idle")

    def unchanged(self, name: str, entry: McpServer | None) -> tuple[Server | Branches, Keeping] | None:
        """The server `name`, and what is kept of it, where it has the settings `entry`."""
        if name not in self._servers or name not in self._keeping or self._entries.get(name) != entry:
            return None
        return self._servers[name], self._keeping[name]

    async def aclose(self, following: "Toolbox | None" = None) -> None:
        """End all connections and programs but those of the `following` toolbox; may be called twice."""
        if self._sweeper is not None:
            await tasks.stop(self._sweeper)
        kept = following._servers if following else {}
        ending = [each for name, each in self._servers.items() if kept.get(name) is not each]
        await asyncio.gather(*(server.aclose() for server in ending))

    async def offer(self, wanted: str | None, headers: Headers = ()) -> Offer:
        """The tools for one exchange, whose client sent `headers`.

        `wanted`: comma list of servers, tools (`server__tool`) or patterns; None for all. Waits for first
        connections, for at most 2 s after their start and never later. Raises BridgeError
        (`tools_unavailable`) where a server is away that has `on_unavailable: fail`.
        """
        if not self._servers:
            return Offer()
        scope = self._scopes.of(headers)
        await self._first_connections(scope)
        away = [name for name in self._away(scope) if may_concern(name, wanted)]
        if needed := [name for name in away if name in self._needed]:
            log.warning("request refused: mcp servers are away", servers=needed)
            raise BridgeError(
                Kind.TOOLS_UNAVAILABLE,
                f"MCP servers that every request needs are not available: {', '.join(needed)};"
                " /readyz says why",
                retry_after=RETRY_AFTER,
            )
        self._skipped.update(away)
        tools = self._catalog(scope).offer(wanted)
        return Offer(tools, tuple(away), scope.digest)

    async def run(
        self, calls: Sequence[Call], tools: Sequence[Tool], finished: CallFinished, headers: Headers = ()
    ) -> list[Result]:
        """Run `calls` at the same time; results in call order, exactly one each, never an exception.

        `tools` and `headers` are the exchange's. `finished` hears of each call as it ends, also when
        cancelled.
        """
        at_a_time, limit = self._bridge.parallel_tool_calls, self._bridge.tool_result_limit
        invoke, clean = partial(self._invoke, self._scopes.of(headers)), partial(self.cleaned, headers)
        return await Turn(calls, tools, finished, invoke, clean, at_a_time=at_a_time, limit=limit).run()

    async def invoke(
        self, tool: Tool, arguments: Mapping[str, Any], headers: Headers = ()
    ) -> Mapping[str, Any]:
        """Run one tool; the wire form of its result. Raises CallFailed."""
        return await self._invoke(self._scopes.of(headers), tool, arguments)

    def cleaned(self, headers: Headers, tool: Tool, text: str) -> str:
        """What a tool said of its failure as one sentence, without secrets of its server or of the caller."""
        entry = self._entries.get(tool.server)
        if entry is None:
            return one_sentence(text)
        handed_on = {name.encode() for name in entry.forward_headers}
        theirs = [value.decode("latin-1") for name, value in headers if name.lower() in handed_on]
        return one_sentence(masking([*entry.secrets(), *theirs])(text))

    def explain(self, wanted: str | None = None, headers: Headers = ()) -> tuple[Explanation, ...]:
        """What becomes of every known tool: its injected name, or why it is left out."""
        return self._catalog(self._scopes.of(headers)).explain(wanted)

    def states(self) -> dict[str, dict[str, Any]]:
        """Of each server `state`, the number of `tools` it gives, `error`, and how it has been."""
        catalog = self._catalog(self._scopes.of(()), asking=True)
        return {
            name: {
                **_told(server),
                "tools": catalog.count(name),
                "changed_tools": dict(catalog.changed(name)),
                "skipped": self._skipped[name],
            }
            for name, server in self._servers.items()
        }

    async def accept(self, server: str, tool: str | None = None) -> list[str]:
        """Take the tools of `server` as they are now, or one of them; the names of those that had changed."""
        found = self._servers[server]
        listing = found.listing() if isinstance(found, Server) else found.any_listing()
        changed = [name for name in listing.changed if tool in (None, name)]
        await self._keeping[server].accept(tuple(each for each in listing.tools if each.name in changed))
        return changed

    def _server_for(self, name: str, scope: Scope) -> Server | None:
        server = self._servers.get(name)
        return server.at(scope.credentials[name]) if isinstance(server, Branches) else server

    def _away(self, scope: Scope) -> list[str]:
        servers = ((name, self._server_for(name, scope)) for name in self._servers)
        return [name for name, server in servers if server is None or server.is_away]

    def _catalog(self, scope: Scope, *, asking: bool = False) -> Catalog:
        """What the servers list for `scope`; only `asking` opens no session for it."""
        listed: dict[str, Listing] = {}
        for name, server in self._servers.items():
            if isinstance(server, Branches) and asking:
                listed[name] = server.any_listing()
            else:
                found = self._server_for(name, scope)
                listed[name] = NOTHING if found is None else found.listing()
        return self._scopes.catalog("?" if asking else scope.digest, listed)

    async def _first_connections(self, scope: Scope) -> None:
        """Wait until all tools are known, for each server at most 2 s from its start."""
        servers = (self._server_for(name, scope) for name in self._servers)
        waited_for = [(server, server.first_wait) for server in servers if server and server.first_wait]
        if waited_for:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(seconds for _, seconds in waited_for)):
                    for server, _ in waited_for:
                        await server.known.wait()

    async def _invoke(self, scope: Scope, tool: Tool, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        if tool.server not in self._servers:
            raise CallFailed("error", f"There is no MCP server named {tool.server!r}.")
        server = self._server_for(tool.server, scope)
        if server is None:
            raise CallFailed("error", f"The MCP server {tool.server!r} is not available. {FULL}")
        return await server.call(tool.own_name, arguments)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEPS_EVERY)
            for branches in self._branches:
                branches.sweep()


def _told(server: Server | Branches) -> dict[str, Any]:
    if isinstance(server, Branches):
        return server.told()
    return {"state": server.state, "error": server.error, **server.vitals.told()}
