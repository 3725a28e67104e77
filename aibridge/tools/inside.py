"""A server object of the mcp package, spoken to in this process: calls are given to it as they are.

mcp's client makes a model of each request and two of each answer, to know that a foreign server keeps to the
protocol, and its dispatcher a cancel scope and a turn of the event loop. The server's own side checks all of
that, too: for one in this process that is enough, and takes half the time.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
from mcp import MCPError, types
from mcp.client import ClientSession
from mcp.client.session import MessageHandlerFnT
from mcp.server import Server
from mcp.server.runner import modern_error_data, modern_on_request
from mcp.shared.direct_dispatcher import DirectDispatcher, create_direct_dispatcher_pair
from mcp.shared.dispatcher import CallOptions, OnRequest
from mcp.shared.exceptions import NoBackChannelError
from mcp.shared.transport_context import TransportContext

TRANSPORT = TransportContext(kind="direct", can_send_request=False)


class Direct:
    """The way to a server in this process."""

    def __init__(self, answer: OnRequest, back: DirectDispatcher, envelope: Mapping[str, Any]) -> None:
        self._answer, self._back, self._envelope = answer, back, envelope
        self._number = 0
        self.closed = False

    async def call(
        self, tool: str, arguments: Mapping[str, Any], place: Mapping[str, Any], alive: Callable[[], None]
    ) -> Mapping[str, Any]:
        """The wire form of the result; `place` is that in a trace. Raises MCPError."""
        if self.closed:
            raise MCPError(types.CONNECTION_CLOSED, "Connection closed")
        self._number += 1
        context = _Context(f"call-{self._number}", self._back, alive)
        params = {"name": tool, "arguments": dict(arguments), "_meta": {**place, **self._envelope}}
        try:
            return await self._answer(context, "tools/call", params)
        except MCPError:
            raise
        except Exception as error:  # whose text is the server's own affair
            raise MCPError.from_error_data(modern_error_data(error)) from error


@dataclass(slots=True)
class _Context:
    """What a server may ask and tell while it runs a call."""

    request_id: str
    _back: DirectDispatcher
    _alive: Callable[[], None]
    transport: TransportContext = TRANSPORT
    can_send_request: bool = False
    message_metadata: None = None
    cancel_requested: anyio.Event = field(default_factory=anyio.Event)

    async def notify(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> None:
        """Tell the session."""
        await self._back.notify(method, params, opts)

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        """The protocol has no requests of servers any more."""
        raise NoBackChannelError(method)

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        """A sign of life."""
        self._alive()


@asynccontextmanager
async def inside(
    server: Server[Any], us: types.Implementation, heard: MessageHandlerFnT
) -> AsyncIterator[tuple[ClientSession, Direct]]:
    """A session with `server` for all but calls, and the way for these; `heard` gets what it tells."""
    near, far = create_direct_dispatcher_pair(raise_handler_exceptions=False)
    async with server.lifespan(server) as state, anyio.create_task_group() as tasks:
        answer = modern_on_request(server, state)
        await tasks.start(far.run, answer, _nothing)
        try:
            async with ClientSession(dispatcher=near, client_info=us, message_handler=heard) as session:
                await session.discover()
                direct = Direct(answer, far, _envelope(session, us))
                try:
                    yield session, direct
                finally:
                    direct.closed = True
        finally:
            far.close()


def _envelope(session: ClientSession, us: types.Implementation) -> Mapping[str, Any]:
    """What each request says of who makes it."""
    return {
        types.PROTOCOL_VERSION_META_KEY: session.protocol_version,
        types.CLIENT_INFO_META_KEY: us.model_dump(by_alias=True, mode="json", exclude_none=True),
        types.CLIENT_CAPABILITIES_META_KEY: {},
    }


async def _nothing(_context: object, _method: str, _params: object) -> None:
    """Clients tell servers nothing in this version of the protocol."""
