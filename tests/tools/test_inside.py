"""Calls to a server in this process go to it directly, and give what they give through mcp's client."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from mcp import Client, MCPError, types
from mcp.server.lowlevel import Server
from mcp.server.mcpserver import Context, MCPServer

from aibridge import __version__
from aibridge.tools.inside import Direct, direct
from aibridge.tools.session import ANSWER, CLIENT, Session
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


def way(client: Client) -> Direct:
    found = direct(client, CLIENT)
    assert found is not None
    return found


def never() -> None:
    raise AssertionError("there was no progress")


@pytest.mark.parametrize("answer", RESULTS)
async def test_every_kind_of_result_is_what_the_client_gives(answer: types.CallToolResult) -> None:
    request = types.CallToolRequest(params=types.CallToolRequestParams(name="any", arguments={}))
    async with Client(giving(answer), mode="auto", client_info=CLIENT) as client:
        given = await way(client).call("any", {}, {}, never)
        parsed = await client.session.send_request(request, ANSWER)
        assert given == parsed.model_dump(mode="json", by_alias=True, exclude_none=True)


async def test_the_server_hears_who_calls_with_what_and_where_in_a_trace() -> None:
    heard: list[Mapping[str, Any]] = []

    async def tell(context: Context, a: int) -> str:
        request = context.request_context
        heard.append({**(request.params or {}), "version": request.protocol_version})
        return str(a)

    server = MCPServer("telling")
    server.tool(structured_output=False)(tell)
    async with Client(server, mode="auto", client_info=CLIENT) as client:
        place = {"traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01"}
        given = await way(client).call("tell", {"a": 3}, place, never)
        version = client.protocol_version
    assert given["content"] == [{"type": "text", "text": "3"}]
    [call] = heard
    assert (call["name"], call["arguments"], call["version"]) == ("tell", {"a": 3}, version)
    assert call["_meta"] == {
        **place,
        types.PROTOCOL_VERSION_META_KEY: version,
        types.CLIENT_INFO_META_KEY: {"name": "aibridge", "version": __version__},
        types.CLIENT_CAPABILITIES_META_KEY: {},
    }


async def test_progress_is_a_sign_of_life() -> None:
    signs: list[int] = []
    async with Client(House().server, mode="auto") as client:
        await way(client).call("work", {"steps": 3, "seconds": 0}, {}, lambda: signs.append(1))
    assert len(signs) == 3


async def test_what_a_server_throws_is_an_error_without_its_text() -> None:
    async def crash(_: Any, __: Any) -> types.CallToolResult:
        raise RuntimeError("secret")

    async with Client(Server("crashing", on_call_tool=crash), mode="auto") as client:
        with pytest.raises(MCPError, match=r"^Internal server error$"):
            await way(client).call("any", {}, {}, never)


async def test_after_its_end_the_connection_is_closed() -> None:
    async with Client(House().server, mode="auto") as client:
        found = way(client)
    with pytest.raises(MCPError, match="Connection closed"):
        await found.call("echo", {"text": "a"}, {}, never)


async def test_a_server_that_is_spoken_to_in_messages_is_called_through_the_client() -> None:
    async with Client(House().server, mode="legacy") as client:
        assert direct(client, CLIENT) is None


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_session_gives_the_same_either_way(mode: str) -> None:
    mask: Callable[[str], str] = str
    async with Client(House().server, mode=mode) as client:
        given = await Session("house", client, mask).call("echo", {"text": "a"}, never)
    assert given["content"] == [{"type": "text", "text": "a"}]
    assert given["isError"] is False
