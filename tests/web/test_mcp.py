"""`/mcp`: every tool as one MCP server, with the names, filters, limits and records of the bridge."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import pytest
from mcp import Client, types
from mcp.client.streamable_http import streamable_http_client
from mcp.server.mcpserver import Image, MCPServer

from aibridge.demo.tools import create_server
from tests.support.bridged import Bridged, bridged, configuration
from tests.support.gates import Gate
from tests.support.raw import send
from tests.support.waiting import eventually

T = TypeVar("T")
ERAS = ["auto", "legacy"]
PIXEL = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def gate() -> Gate:
    return Gate()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, gate: Gate) -> Iterator[Bridged]:
    folder: Path = tmp_path_factory.mktemp("mcp")
    pictures = MCPServer("pictures")

    def draw() -> Image:
        return Image(data=PIXEL, format="png")

    def long() -> str:
        return "x" * 5000

    pictures.add_tool(draw)
    pictures.add_tool(long)
    pictures.add_tool(gate.wait, name="wait")
    config = configuration(folder, "http://127.0.0.1:9/v1", bridge={"tool_result_limit": 1000})
    with bridged(folder, config, tools={"demo": create_server(), "pictures": pictures}) as running:
        yield running


def talk(server: Bridged, era: str, work: Callable[[Client], Coroutine[Any, Any, T]], **headers: str) -> T:
    """What `work` gives, with a client of the mcp SDK connected to `/mcp`."""

    async def connected() -> T:
        async with httpx2.AsyncClient(headers=headers, trust_env=False, verify=False) as http:
            transport = streamable_http_client(f"{server.url}/mcp", http_client=http)
            async with Client(transport, mode=era) as client:
                return await work(client)

    return asyncio.run(connected())


async def names(client: Client) -> list[str]:
    return [tool.name for tool in (await client.list_tools()).tools]


@pytest.mark.parametrize("era", ERAS)
def test_all_tools_are_listed_under_the_names_that_models_see(server: Bridged, era: str) -> None:
    listed = talk(server, era, names)
    assert {"demo__add", "demo__weather", "pictures__draw"} <= set(listed)
    assert listed == sorted(listed)


@pytest.mark.parametrize("era", ERAS)
def test_a_call_runs_and_is_recorded(server: Bridged, era: str) -> None:
    result = talk(server, era, lambda client: client.call_tool("demo__add", {"a": 2, "b": 3}))
    assert isinstance(result.content[0], types.TextContent) and result.content[0].text == "5"
    row = server.ended()
    assert (row["api"], row["path"], row["status"]) == ("mcp", "/mcp", "completed")
    (call,) = [each for each in server.rows("tool_calls") if each["exchange_id"] == row["id"]]
    assert (call["server"], call["tool"], call["name"], call["status"]) == ("demo", "add", "demo__add", "ok")
    assert json.loads(call["arguments"]) == {"a": 2, "b": 3}


@pytest.mark.parametrize("era", ERAS)
def test_content_that_is_no_text_goes_on_as_it_is(server: Bridged, era: str) -> None:
    result = talk(server, era, lambda client: client.call_tool("pictures__draw", {}))
    assert isinstance(result.content[0], types.ImageContent)
    assert result.content[0].mime_type == "image/png"


@pytest.mark.parametrize("era", ERAS)
def test_a_failing_tool_and_an_unknown_one_are_told_in_the_result(server: Bridged, era: str) -> None:
    async def both(client: Client) -> list[types.CallToolResult]:
        calls = [("demo__fail", {"message": "it broke"}), ("demo__nothing", {})]
        return [await client.call_tool(name, arguments) for name, arguments in calls]

    results = talk(server, era, both)
    assert [result.is_error for result in results] == [True, True]
    texts = [
        block.text for result in results for block in result.content if isinstance(block, types.TextContent)
    ]
    assert "it broke" in texts[0] and "no tool named 'demo__nothing'" in texts[1]


def test_text_over_the_limit_is_cut(server: Bridged) -> None:
    result = talk(server, "auto", lambda client: client.call_tool("pictures__long", {}))
    assert isinstance(result.content[0], types.TextContent)
    assert result.content[0].text.startswith("x" * 1000 + "\n[Cut here")


def test_the_header_narrows_what_is_listed_and_what_can_be_called(server: Bridged) -> None:
    async def look(client: Client) -> tuple[list[str], bool | None]:
        return await names(client), (await client.call_tool("pictures__draw", {})).is_error

    listed, refused = talk(server, "auto", look, **{"x-aibridge-tools": "demo"})
    assert listed and all(name.startswith("demo__") for name in listed)
    assert refused


def test_a_client_that_leaves_cancels_its_call(server: Bridged, gate: Gate) -> None:
    async def leave(client: Client) -> None:
        call = asyncio.ensure_future(client.call_tool("pictures__wait", {}))
        await asyncio.to_thread(gate.await_reached)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)

    def recorded() -> list[dict[str, Any]]:
        return [each for each in server.rows("tool_calls") if each["tool"] == "wait"]

    with gate:
        talk(server, "auto", leave)
        eventually(recorded, what="the record of the call")
        assert [call["status"] for call in recorded()] == ["cancelled"]


def test_no_client_can_hold_a_stream_open_on_which_nothing_comes(server: Bridged) -> None:
    got = send(server.port, headers=[("accept", "text/event-stream")], method="GET", path="/mcp")
    assert (got.status, got.header("allow"), got.error["code"]) == (405, "POST", "method_not_allowed")


def test_a_page_of_another_origin_and_an_unknown_key_are_refused(server: Bridged) -> None:
    refused = send(server.port, b"{}", [("origin", "https://evil.example")], path="/mcp")
    assert refused.status == 403
    unknown = send(server.port, b"{}", [("authorization", "Bearer sk-aib-unknown")], path="/mcp")
    assert (unknown.status, unknown.error["code"]) == (401, "invalid_api_key")
