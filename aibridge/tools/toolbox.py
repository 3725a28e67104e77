"""The tools of all configured MCP servers: what an exchange is offered, and the calls of its turns.

Puts servers, catalog and runner together; what the engine needs of it is `bridge.ports.Toolbox`.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Any

from aibridge.config import Bridge, McpServer
from aibridge.nouns import Call, Result, Tool
from aibridge.tools.catalog import Catalog, Definition, Explanation, Rules
from aibridge.tools.failures import CallFailed
from aibridge.tools.runner import CallFinished, Turn
from aibridge.tools.server import Server

FIRST_CONNECT = 2.0
"""Seconds from the start for which an exchange waits for servers that never were connected yet."""
NONE: Mapping[str, object] = MappingProxyType({})


class Toolbox:
    """Connections to the servers and a catalog of their tools."""

    def __init__(self, servers: Sequence[Server], rules: Mapping[str, Rules], bridge: Bridge) -> None:
        self._servers = {server.name: server for server in servers}
        self._rules, self._bridge = rules, bridge
        self._waits_until: float | None = None
        self._listed: dict[str, tuple[Definition, ...]] = {}
        self._catalog = Catalog({}, rules)

    def start(self) -> None:
        """Begin to connect to all servers; returns at once. Needs a running event loop."""
        self._waits_until = asyncio.get_running_loop().time() + FIRST_CONNECT
        for server in self._servers.values():
            server.start()

    async def aclose(self) -> None:
        """End all connections and programs; may be called twice."""
        await asyncio.gather(*(server.aclose() for server in self._servers.values()))

    async def offer(self, wanted: str | None) -> tuple[Tool, ...]:
        """The tools for one exchange, sorted by name.

        `wanted`: comma list of servers, tools (`server__tool`) or patterns; None for all. Waits for first
        connections, for at most 2 s after the start and never later.
        """
        if self._waits_until is not None:
            await self.first_attempts(self._waits_until - asyncio.get_running_loop().time())
            self._waits_until = None
        return self._current().offer(wanted)

    async def first_attempts(self, seconds: float) -> None:
        """Wait until each server was reached once or failed to be, for at most `seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for server in self._servers.values():
                    await server.attempted.wait()

    async def run(self, calls: Sequence[Call], tools: Sequence[Tool], finished: CallFinished) -> list[Result]:
        """Run `calls` at the same time; results in call order, exactly one each, never an exception.

        `tools` is the exchange's offer. `finished` hears of each call as it ends, also when cancelled.
        """
        at_a_time, limit = self._bridge.parallel_tool_calls, self._bridge.tool_result_limit
        return await Turn(calls, tools, finished, self._invoke, at_a_time=at_a_time, limit=limit).run()

    def explain(self, wanted: str | None = None) -> tuple[Explanation, ...]:
        """What becomes of every known tool: its injected name, or why it is left out."""
        return self._current().explain(wanted)

    def states(self) -> dict[str, dict[str, Any]]:
        """Of each server `state`, the number of `tools` it gives, and `error`: one sentence or None."""
        catalog = self._current()
        return {
            name: {"state": server.state, "tools": catalog.count(name), "error": server.error}
            for name, server in self._servers.items()
        }

    async def _invoke(self, tool: Tool, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        server = self._servers.get(tool.server)
        if server is None:
            raise CallFailed("error", f"There is no MCP server named {tool.server!r}.")
        return await server.call(tool.own_name, arguments)

    def _current(self) -> Catalog:
        """The catalog, made anew only when a server's list has changed."""
        listed = {name: server.tools() for name, server in self._servers.items()}
        if any(tools is not self._listed.get(name) for name, tools in listed.items()):
            self._listed, self._catalog = listed, Catalog(listed, self._rules)
        return self._catalog


def from_config(
    servers: Mapping[str, McpServer], bridge: Bridge, in_process: Mapping[str, object] = NONE
) -> Toolbox:
    """The toolbox for the configured servers; nothing is connected before `start()`.

    `in_process` holds server objects of the mcp package (`MCPServer` or the low-level `Server`) by name; one
    with the name of a configured server takes its place and keeps its patterns, timeout and mode.
    """
    enabled = {name: config for name, config in servers.items() if not config.disabled}
    rules = {name: Rules(config.allow, config.deny) for name, config in enabled.items()}
    connected = [
        Server(name, in_process.get(name, config), mode=config.mode, timeout=config.timeout)
        for name, config in enabled.items()
    ]
    connected += [Server(name, target) for name, target in in_process.items() if name not in servers]
    return Toolbox(connected, rules, bridge)
