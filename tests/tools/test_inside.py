"""Calls to a server in this process go to it directly, and give what they give through mcp's session."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal

import pytest
from mcp import ClientSession, MCPError, types
from mcp.client.session import IncomingMessage
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.mcpserver import Context, MCPServer
from mcp.shared.exceptions import MCPDeprecationWarning

from aibridge import __version__
from aibridge.tools.inside import Direct, inside
from aibridge.tools.session import ANSWER, CLIENT, connect
from tests.tools.house import House

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left")]

TEXT = types.TextContent(text="häl\u2028f")
RESULTS = (
    types.CallToolResult(content=[]),
    types.CallToolResult(content=[TEXT, TEXT], is_error=True),
    types.CallToolResult(content=[TEXT], structured_content={"a": [1, None, {"b": 1.5}]}),
    types.CallToolResult(content=[types.ImageContent(data="AAAA", mime_type="image/png")]),
    types.CallToolResult(
        content=[
            types.ResourceLink(name="n", uri="file:///a", size=3),
            types.EmbeddedResource(resource=types.TextResourceContents(uri="file:///b", text="t")),
        ]
    ),
    types.InputRequiredResult(request_state="waiting"),
)


def giving(answer: types.CallToolResult | types.InputRequiredResult) -> Server[Any]:
    async def called(_: Any, __: Any) -> types.CallToolResult | types.InputRequiredResult:
        return answer

    return Server("giving", on_call_tool=called)


async def heard(message: IncomingMessage) -> None:
    """Nobody listens."""


def opened(server: MCPServer | Server[Any]) -> AbstractAsyncContextManager[tuple[ClientSession, Direct]]:
    found = server if isinstance(server, Server) else server._lowlevel_server
    return inside(found, CLIENT, heard)


def never() -> None:
    raise AssertionError("there was no progress")


@pytest.mark.parametrize("answer", RESULTS)
async def test_every_kind_of_result_is_what_the_client_gives(answer: types.CallToolResult) -> None:
    request = types.CallToolRequest(params=types.CallToolRequestParams(name="any", arguments={}))
    async with opened(giving(answer)) as (session, way):
        given = await way.call("any", {}, {}, never)
        parsed = await session.send_request(request, ANSWER)
        assert given == parsed.model_dump(mode="json", by_alias=True, exclude_none=True)


async def test_the_server_hears_who_calls_with_what_and_where_in_a_trace() -> None:
    told: list[Mapping[str, Any]] = []

    async def tell(context: Context, a: int) -> str:
        request = context.request_context
        told.append({**(request.params or {}), "version": request.protocol_version})
        return str(a)

    server = MCPServer("telling")
    server.tool(structured_output=False)(tell)
    async with opened(server) as (session, way):
        place = {"traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01"}
        given = await way.call("tell", {"a": 3}, place, never)
        await session.call_tool("tell", {"a": 4})
        version = session.protocol_version
    assert given["content"] == [{"type": "text", "text": "3"}]
    call, through_the_session = told
    assert call["_meta"] == {**place, **through_the_session["_meta"]}
    assert (call["name"], call["arguments"], call["version"]) == ("tell", {"a": 3}, version)
    assert call["_meta"] == {
        **place,
        types.PROTOCOL_VERSION_META_KEY: version,
        types.CLIENT_INFO_META_KEY: {"name": "aibridge", "version": __version__},
        types.CLIENT_CAPABILITIES_META_KEY: {},
    }


async def test_progress_is_a_sign_of_life() -> None:
    signs: list[int] = []
    async with opened(House().server) as (_, way):
        await way.call("work", {"steps": 3, "seconds": 0}, {}, lambda: signs.append(1))
    assert len(signs) == 3


async def test_what_a_server_throws_is_an_error_without_its_text() -> None:
    async def crash(_: Any, __: Any) -> types.CallToolResult:
        raise RuntimeError("secret")

    async with opened(Server("crashing", on_call_tool=crash)) as (_, way):
        with pytest.raises(MCPError, match=r"^Internal server error$"):
            await way.call("any", {}, {}, never)


async def test_after_its_end_the_connection_is_closed() -> None:
    async with opened(House().server) as (_, way):
        pass
    with pytest.raises(MCPError, match="Connection closed"):
        await way.call("echo", {"text": "a"}, {}, never)


async def test_what_a_server_tells_while_it_runs_a_call_is_heard() -> None:
    told: list[str] = []

    async def listening(message: IncomingMessage) -> None:
        told.append(type(message).__name__)

    async def speaks(context: ServerRequestContext[Any], _: Any) -> types.CallToolResult:
        with pytest.warns(MCPDeprecationWarning):
            await context.session.send_log_message(level="info", data="on my way")
        return types.CallToolResult(content=[])

    async with inside(Server("speaking", on_call_tool=speaks), CLIENT, listening) as (_, way):
        await way.call("any", {}, {types.LOG_LEVEL_META_KEY: "debug"}, never)
    assert told == ["LoggingMessageNotification"]


async def test_a_server_may_not_ask_anything_while_it_runs_a_call() -> None:
    async def asks(context: Any, __: Any) -> types.CallToolResult:
        await context.session.send_request(types.PingRequest(), types.EmptyResult)
        return types.CallToolResult(content=[])

    async with opened(Server("asking", on_call_tool=asks)) as (_, way):
        with pytest.raises(MCPError):
            await way.call("any", {}, {}, never)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_session_gives_the_same_either_way(mode: Literal["auto", "legacy"]) -> None:
    ways: list[str] = []
    house = House().server

    async def look(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        if ctx.method == "tools/call":
            ways.append(str(ctx.request_id))
        return await call_next(ctx)

    house.middleware.append(look)
    async with connect("house", house, mode, lambda sentence: None, lambda: None) as session:
        given = await session.call("echo", {"text": "a"}, never)
    assert given["content"] == [{"type": "text", "text": "a"}]
    assert given["isError"] is False
    assert [way.startswith("call-") for way in ways] == [mode == "auto"]
