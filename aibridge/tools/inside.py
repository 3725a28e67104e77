"""Calls to a server that lives in this process: given to it as they are.

mcp's client makes a model of each request and two of each answer, to know that a foreign server keeps to the
protocol. The server's own side does so, too: for one in this process that is enough, and a third less time.
"""

from collections.abc import Callable, Mapping
from typing import Any

from mcp import Client
from mcp.shared.direct_dispatcher import DirectDispatcher
from mcp.shared.dispatcher import CallOptions
from mcp.types import (
    CLIENT_CAPABILITIES_META_KEY,
    CLIENT_INFO_META_KEY,
    PROTOCOL_VERSION_META_KEY,
    Implementation,
)


class Direct:
    """The way to the server of a connected client."""

    def __init__(self, dispatcher: DirectDispatcher, protocol: str, us: Implementation) -> None:
        self._dispatcher = dispatcher
        self._envelope = {
            PROTOCOL_VERSION_META_KEY: protocol,
            CLIENT_INFO_META_KEY: us.model_dump(by_alias=True, mode="json", exclude_none=True),
            CLIENT_CAPABILITIES_META_KEY: {},
        }

    async def call(
        self, tool: str, arguments: Mapping[str, Any], place: Mapping[str, Any], alive: Callable[[], None]
    ) -> Mapping[str, Any]:
        """The wire form of the result; `place` is that in a trace. Raises MCPError."""

        async def progressed(progress: float, total: float | None, message: str | None) -> None:
            alive()

        params = {"name": tool, "arguments": dict(arguments), "_meta": {**place, **self._envelope}}
        options: CallOptions = {"on_progress": progressed}
        return await self._dispatcher.send_raw_request("tools/call", params, options)


def direct(client: Client, us: Implementation) -> Direct | None:
    """The way to the server of `client`; None where that is elsewhere, or speaks in messages."""
    dispatcher = getattr(client.session, "_dispatcher", None)  # mcp has no public name for it
    if not isinstance(dispatcher, DirectDispatcher):
        return None
    return Direct(dispatcher, client.protocol_version, us)
