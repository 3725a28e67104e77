"""What a client and the records are told of tools that were not injected."""

import json
from pathlib import Path

import pytest
from mcp.server.mcpserver import MCPServer

from tests.support.bridged import bridged, configuration
from tests.support.raw import JSON_TYPE, RawUpstream, ask

DEAD = {"command": "/no/such/program"}


def many_tools(count: int) -> MCPServer:
    server = MCPServer("many", log_level="WARNING")
    for at in range(count):
        server.add_tool(lambda: "", f"tool{at:03}", "one of many", structured_output=False)
    return server


def test_a_server_that_is_away_is_told_in_a_header_and_recorded(
    tmp_path: Path, upstream: RawUpstream
) -> None:
    config = configuration(tmp_path, upstream.base_url, mcp_servers={"dead": DEAD, "gone": DEAD})
    with bridged(tmp_path, config, {"many": many_tools(1)}, awaited=("many",)) as bridge:
        got = ask(bridge.port)
        assert (got.status, got.header("x-aibridge-mcp-unavailable")) == (200, "dead, gone")
        assert json.loads(bridge.ended()["unavailable"]) == ["dead", "gone"]
        assert ask(bridge.port, [JSON_TYPE, ("x-aibridge-tools", "many")]).header(
            "x-aibridge-mcp-unavailable"
        ) is None  # fmt: skip
        assert bridge.app.states()["mcp_servers"]["dead"]["skipped"] == 1


def test_a_request_without_tools_needs_no_server(tmp_path: Path, upstream: RawUpstream) -> None:
    config = configuration(
        tmp_path, upstream.base_url, mcp_servers={"dead": {**DEAD, "on_unavailable": "fail"}}
    )
    with bridged(tmp_path, config, awaited=()) as bridge:
        refused = ask(bridge.port)
        assert (refused.status, refused.error["code"]) == (503, "tools_unavailable")
        assert refused.header("retry-after") == "5"
        assert upstream.heard == []
        got = ask(bridge.port, [JSON_TYPE, ("x-aibridge-tools", "off")])
        assert (got.status, got.header("x-aibridge-mcp-unavailable")) == (200, None)


@pytest.mark.parametrize(("count", "told"), [(128, None), (130, "many__tool128, many__tool129")])
def test_tools_over_what_an_upstream_takes_are_told(
    tmp_path: Path, upstream: RawUpstream, count: int, told: str | None
) -> None:
    config = configuration(tmp_path, upstream.base_url)
    with bridged(tmp_path, config, {"many": many_tools(count)}) as bridge:
        got = ask(bridge.port)
        assert got.header("x-aibridge-tools-left-out") == told
        assert len(json.loads(upstream.heard[0].body)["tools"]) == 128
        assert json.loads(bridge.ended()["left_out"] or "[]") == (told.split(", ") if told else [])


def test_a_long_list_of_left_out_tools_is_shortened_in_the_header(
    tmp_path: Path, upstream: RawUpstream
) -> None:
    config = configuration(tmp_path, upstream.base_url)
    with bridged(tmp_path, config, {"many": many_tools(200)}) as bridge:
        header = ask(bridge.port).header("x-aibridge-tools-left-out") or ""
        assert header.endswith("many__tool147, and 52 more")
        assert len(json.loads(bridge.ended()["left_out"])) == 72
