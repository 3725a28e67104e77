"""`/mcp`: who is calling is told as on every route, then the request goes to the MCP endpoint."""

from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Send

from aibridge.bridge.ports import Tracing
from aibridge.bridge.story import Story
from aibridge.dialects.base import Asked
from aibridge.errors import BridgeError, Kind
from aibridge.facts import Listener
from aibridge.nouns import Call, Result, Tool
from aibridge.web.callers import Door, Lease, release
from aibridge.web.headers import Scope
from aibridge.web.reply import send_error

API = "mcp"
PATH = "/mcp"


@dataclass(frozen=True, slots=True)
class McpRoute:
    """The ASGI application at `/mcp`."""

    endpoint: Callable[[], ASGIApp]
    door: Door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        lease: Lease | None = None
        try:
            caller = self.door.identify(scope)
            if scope["method"] == "GET":
                raise _nothing_to_hear()
            endpoint = self.endpoint()
            lease = await self.door.admit(caller, 0)
        except BridgeError as error:
            self.door.refused(error, scope)
            await send_error(send, error)
            return
        try:
            await endpoint({**scope, "aibridge.caller": caller}, receive, send)
        finally:
            release(lease)


def _nothing_to_hear() -> BridgeError:
    """A stream of what a server says unasked: 405, by MCP's specification, where it has nothing to say.

    Clients would hold it open for as long as they live, and with it what a reload left behind.
    """
    sentence = "/mcp takes POST: it keeps no sessions, so that nothing would come on a stream"
    return BridgeError(Kind.METHOD_NOT_ALLOWED, sentence, headers=((b"allow", b"POST"),))


def tell_call(
    listener: Listener, tracing: Tracing, scope: Scope, tools: tuple[Tool, ...], call: Call, result: Result
) -> None:
    """A call that came over `/mcp`, as an exchange of its own in the records."""
    story = Story(listener, scope["aibridge.caller"], API, PATH, result.started_at)
    story.trace = tracing(scope["headers"], story.exchange_id)
    story.begins(Asked(model="", streamed=False), "", tools)
    story.call_finishes(call, result)
    story.ends("cancelled" if result.status == "cancelled" else "completed", 200)
