"""One live MCP session: list its tools, call them, hear of changes.

Here mcp is called, and only our own failures leave. Who opens and closes a session, and when, is left to
`server.py`; a session is left by the task that entered it (an anyio rule), calls come from any task.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal

import structlog
from mcp import Client, ClientSession, MCPError, types
from mcp.client.session import IncomingMessage
from mcp.client.subscriptions import ListenNotSupportedError, listen
from mcp.server import Server as LowLevelServer
from mcp.server.mcpserver import MCPServer
from mcp.types import HEADER_MISMATCH, METHOD_NOT_FOUND
from opentelemetry.context import get_current
from opentelemetry.propagate import inject
from pydantic import TypeAdapter

from aibridge import __version__
from aibridge.config import McpServer
from aibridge.tools.definitions import Definition, is_destructive
from aibridge.tools.failures import CallFailed, ConnectFailed, masking
from aibridge.tools.http_errors import Lost
from aibridge.tools.inside import Direct, inside
from aibridge.tools.transports import opened
from aibridge.tools.troubles import Mask, call_failure, trouble_of, why_not_connected

MOST_PAGES = 100
"""Pages of a tool list; a faulty server may go on for ever."""
CLIENT = types.Implementation(name="aibridge", version=__version__)
ANSWER: TypeAdapter[types.CallToolResult | types.InputRequiredResult] = TypeAdapter(
    types.CallToolResult | types.InputRequiredResult
)

Target = McpServer | object
"""A configuration, or a server object of the mcp package that runs in this process."""

log = structlog.get_logger(__name__)


@asynccontextmanager
async def connect(
    name: str, target: Target, mode: Literal["auto", "legacy"], lost: Lost, changed: Callable[[], None]
) -> AsyncIterator["Session"]:
    """A session with the server `name`; raises ConnectFailed, on entering and on leaving.

    `lost` hears when it has come to its end, `changed` when the server says that its tools changed.
    """

    async def heard(message: IncomingMessage) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            changed()

    mask = masking(target.secrets() if isinstance(target, McpServer) else ())
    try:
        server = _endpoint(name, target, mask, lost)
        here = _of_this_process(server)
        if here is not None and mode == "auto":
            async with inside(here, CLIENT, heard) as (session, direct):
                yield Session(name, session, mask, direct)
        else:
            known = Client(server, mode=mode, message_handler=heard, cache=None, client_info=CLIENT)
            async with known as client:
                yield Session(name, client.session, mask)
    except Exception as error:
        raise ConnectFailed(why_not_connected(error, mask)) from error


def _endpoint(name: str, target: Target, mask: Mask, lost: Lost) -> Any:
    if isinstance(target, McpServer):
        return opened(name, target, mask, lost)
    if isinstance(target, MCPServer | LowLevelServer):
        return target
    raise ConnectFailed(f"A {type(target).__name__} is no MCP server.")


def _of_this_process(server: object) -> LowLevelServer[Any] | None:
    """The low-level server; an MCPServer, which has one, does not tell it by a public name."""
    found = getattr(server, "_lowlevel_server", server)
    return found if isinstance(found, LowLevelServer) else None


class Session:
    """What can be asked of a connected server."""

    def __init__(self, name: str, session: ClientSession, mask: Mask, direct: Direct | None = None) -> None:
        """`direct`: the way for calls, where that is not the session."""
        self._name, self._session, self._mask, self._direct = name, session, mask, direct

    @property
    def protocol(self) -> str:
        """The negotiated version of the protocol."""
        return str(self._session.protocol_version)

    async def tools(self) -> tuple[Definition, ...]:
        """All pages of the server's tool list; raises ConnectFailed."""
        found: dict[str, Definition] = {}
        cursor: str | None = None
        try:
            for _ in range(MOST_PAGES):
                page = await self._session.list_tools(params=types.PaginatedRequestParams(cursor=cursor))
                for tool in page.tools:
                    found.setdefault(tool.name, _definition(tool))
                cursor = page.next_cursor
                if not cursor:
                    break
        except Exception as error:
            if not _has_no_tools(error):
                raise ConnectFailed(why_not_connected(error, self._mask)) from error
        return tuple(found.values())

    async def call(
        self, tool: str, arguments: Mapping[str, Any], alive: Callable[[], None]
    ) -> Mapping[str, Any]:
        """The wire form of the tool's result; raises CallFailed, NotRun where the tool never began.

        `alive` hears each report of progress. There is no time limit; cancelling reaches the server.
        """
        try:
            try:
                answer = await self._send(tool, arguments, alive)
            except MCPError as error:
                if error.code != HEADER_MISMATCH:
                    raise
                await self._session.list_tools()  # its schema says which arguments go into headers
                answer = await self._send(tool, arguments, alive)
        except Exception as error:
            raise call_failure(
                f"The tool {tool!r} of the server {self._name!r}", error, self._mask
            ) from error
        if answer.get("resultType") == "input_required":
            raise CallFailed(
                "error", f"The tool {tool!r} asks for input from a person, which it cannot get here."
            )
        return answer

    async def _send(
        self, tool: str, arguments: Mapping[str, Any], alive: Callable[[], None]
    ) -> Mapping[str, Any]:
        """Not `Client.call_tool`, which fails a result that does not match the tool's output schema."""
        place: types.RequestParamsMeta = {}
        if get_current():
            inject(place)  # mcp itself does so on streams only, not for servers in this process
        if self._direct is not None:
            return await self._direct.call(tool, arguments, place, alive)
        request = types.CallToolRequest(
            params=types.CallToolRequestParams(name=tool, arguments=dict(arguments), _meta=place or None)
        )

        async def progressed(progress: float, total: float | None, message: str | None) -> None:
            alive()

        answer = await self._session.send_request(request, ANSWER, progress_callback=progressed)
        return answer.model_dump(mode="json", by_alias=True, exclude_none=True)

    async def watch(self, changed: Callable[[], None]) -> bool:
        """Listen for changes of the tool list until the stream ends; False where that is no use.

        Up to protocol 2025-11-25 servers tell changes unasked, from 2026-07-28 only to listeners.
        """
        try:
            async with listen(self._session, tools_list_changed=True) as stream:
                changed()  # there may have been one between the list and this stream
                async for _ in stream:
                    changed()
        except ListenNotSupportedError:
            return False
        except MCPError as error:
            return bool(error.code != METHOD_NOT_FOUND)
        except Exception as error:  # SubscriptionLost, or whatever the stream held: listen again
            log.debug("mcp subscription ended", server=self._name, kind=type(error).__name__)
        return True


def _definition(tool: types.Tool) -> Definition:
    needs_task = tool.execution is not None and tool.execution.task_support == "required"
    hints = tool.annotations or types.ToolAnnotations()
    return Definition(
        tool.name,
        tool.description or "",
        tool.input_schema,
        needs_task,
        bool(hints.read_only_hint),
        is_destructive(hints.read_only_hint, hints.destructive_hint),
    )


def _has_no_tools(error: Exception) -> bool:
    """The server itself said so: it has prompts or resources only. A gateway's 404 does not count."""
    return isinstance(error, MCPError) and error.code == METHOD_NOT_FOUND and trouble_of(error) is None
