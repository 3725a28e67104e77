"""The toolbox as an MCP server: its tools listed, its calls run, in both protocol eras, without sessions.

Imports mcp, so it is loaded when the first client comes (`endpoint`). A result goes on as its server gave
it, all kinds of content; only text over the limit is cut, as it is for a model.
"""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from mcp import types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings

from aibridge import __version__
from aibridge.errors import BridgeError
from aibridge.ids import new_id
from aibridge.nouns import ALL_RIGHTS, Call, Caller, CallStatus, Result, Tool
from aibridge.tools.endpoint import Scope
from aibridge.tools.failures import CallFailed, one_sentence
from aibridge.tools.results import ERROR, cut, result_text
from aibridge.tools.toolbox import Toolbox

Told = Callable[[Scope, tuple[Tool, ...], Call, Result], None]
"""Hears of each call that was answered, with the request that it came in."""
WANTED = b"x-aibridge-tools"

log = structlog.get_logger(__name__)


def make_manager(toolbox: Toolbox, told: Told, limit: int, max_body: int) -> StreamableHTTPSessionManager:
    """What serves MCP over HTTP from `toolbox`; texts of results are cut at `limit` characters."""
    served = _Served(toolbox, told, limit)
    server: Server[Any] = Server(
        "aibridge", version=__version__, on_list_tools=served.list_tools, on_call_tool=served.call_tool
    )
    # Host and Origin were looked at by the guard before the request came here.
    security = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    return StreamableHTTPSessionManager(
        server, stateless=True, security_settings=security, max_request_body_size=max_body
    )


class _Served:
    """The handlers of the server."""

    def __init__(self, toolbox: Toolbox, told: Told, limit: int) -> None:
        self._toolbox, self._told, self._limit = toolbox, told, limit

    async def list_tools(self, context: ServerRequestContext[Any], _params: object) -> types.ListToolsResult:
        """The tools that this caller may use."""
        tools = await self._offered(_scope(context))
        return types.ListToolsResult(tools=[_shown(tool) for tool in tools])

    async def call_tool(
        self, context: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        """Run a tool; a failure is a result that says what went wrong."""
        scope = _scope(context)
        tools = await self._offered(scope)
        arguments = params.arguments or {}
        call = Call(str(context.request_id or new_id()), params.name, json.dumps(arguments), injected=True)
        began = time.time()
        status: CallStatus = "cancelled"
        result: Mapping[str, Any] = _failed("The call was cancelled.")
        try:
            status, result = await self._run(scope, tools, params.name, arguments)
        finally:
            took = round((time.time() - began) * 1000)
            text = result_text(result, self._limit)
            error = None if status == "ok" else self._clean(scope, tools, params.name, text)
            self._told(scope, tools, call, Result(call.id, text, status, began, took, error))
        return types.CallToolResult.model_validate(self._limited(result))

    def _clean(self, scope: Scope, tools: tuple[Tool, ...], name: str, text: str) -> str:
        """What is said of a failure in the record."""
        told = text.removeprefix(ERROR)
        tool = next((each for each in tools if each.name == name), None)
        return one_sentence(told) if tool is None else self._toolbox.cleaned(scope["headers"], tool, told)

    async def _run(
        self, scope: Scope, tools: tuple[Tool, ...], name: str, arguments: Mapping[str, Any]
    ) -> tuple[CallStatus, Mapping[str, Any]]:
        tool = next((each for each in tools if each.name == name), None)
        if tool is None:
            return "error", _failed(f"There is no tool named {name!r}.")
        try:
            result = await self._toolbox.invoke(tool, arguments, scope["headers"])
        except CallFailed as failure:
            return failure.status, _failed(failure.sentence)
        return "error" if result.get("isError") else "ok", result

    async def _offered(self, scope: Scope) -> tuple[Tool, ...]:
        wanted = next((value.decode("latin-1") for name, value in scope["headers"] if name == WANTED), None)
        if wanted == "off":
            return ()
        caller = scope.get("aibridge.caller")
        rights = caller.rights if isinstance(caller, Caller) else ALL_RIGHTS
        try:
            chosen = rights.wanted(None if wanted in (None, "", "on") else wanted)
            offer = rights.narrow(await self._toolbox.offer(chosen, scope["headers"]))
        except BridgeError as error:
            raise ValueError(error.message) from None
        return offer.tools

    def _limited(self, result: Mapping[str, Any]) -> Mapping[str, Any]:
        """The result with no more text than the limit."""
        blocks, room = [], self._limit
        for block in result.get("content") or ():
            if block.get("type") == "text":
                text = cut(block["text"], max(room, 0))
                room -= len(block["text"])
                blocks.append({**block, "text": text})
            else:
                blocks.append(block)
        return {**result, "content": blocks}


def _scope(context: ServerRequestContext[Any]) -> Scope:
    """The HTTP request that a message came in."""
    request = context.request
    assert request is not None, "the endpoint is served over HTTP only"
    scope: Scope = request.scope
    return scope


def _shown(tool: Tool) -> types.Tool:
    schema = {"type": "object", **tool.input_schema}
    return types.Tool(name=tool.name, description=tool.description, input_schema=schema)


def _failed(sentence: str) -> Mapping[str, Any]:
    return {"content": [{"type": "text", "text": sentence}], "isError": True}
