"""`/mcp` as an ASGI application: loads the MCP server with its first request, in a task that owns it."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from aibridge import tasks
from aibridge.tools.toolbox import Toolbox

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

if TYPE_CHECKING:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

    from aibridge.tools.serving import Told


class Endpoint:
    """All tools that a caller may use as one MCP server over streamable HTTP."""

    def __init__(self, toolbox: Toolbox, told: "Told", *, limit: int, max_body: int) -> None:
        self._toolbox, self._told, self._limit, self._max_body = toolbox, told, limit, max_body
        self._owner: asyncio.Task[None] | None = None
        self._manager: asyncio.Future[StreamableHTTPSessionManager] | None = None
        self._stop = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if self._manager is None:
            self._manager = asyncio.get_running_loop().create_future()
            self._owner = tasks.start(self._own(self._manager), "mcp:endpoint")
        manager = await asyncio.shield(self._manager)
        await manager.handle_request(scope, receive, send)

    async def aclose(self) -> None:
        """End what runs."""
        self._stop.set()
        if self._owner is not None:
            await tasks.stop(self._owner)

    async def _own(self, made: "asyncio.Future[StreamableHTTPSessionManager]") -> None:
        """mcp's server lives in one task: anyio wants it left where it was entered."""
        try:
            serving = await asyncio.to_thread(import_module, "aibridge.tools.serving")  # takes a second
            manager = serving.make_manager(self._toolbox, self._told, self._limit, self._max_body)
            async with manager.run():
                made.set_result(manager)
                await self._stop.wait()
        except Exception as error:
            if made.done():
                raise
            made.set_exception(error)
