"""The bundled MCP server, spoken to as a client speaks to it."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from mcp.types import TextContent

from aibridge.demo.tools import create_server
from tests.support.environment import clean_env, free_port
from tests.support.processes import running

NAMES = ["add", "fail", "now", "slow", "weather"]


async def _names(target: Any) -> list[str]:
    async with Client(target) as client:
        return sorted(tool.name for tool in (await client.list_tools()).tools)


async def _call(name: str, arguments: dict[str, Any], heard_of: list[float]) -> tuple[str, bool]:
    async def heard(progress: float, total: float | None, message: str | None) -> None:
        heard_of.append(progress)

    async with Client(create_server()) as client:
        result = await client.call_tool(name, arguments, progress_callback=heard)
        [block] = result.content
        assert isinstance(block, TextContent)
        return block.text, bool(result.is_error)


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("add", {"a": 1, "b": 2.5}, "3.5"),
        ("weather", {"city": "Oslo"}, "rain, -4 °C in Oslo"),
        ("slow", {"seconds": 0}, "waited 0 s"),
    ],
)
def test_a_tool_gives_the_same_every_time(name: str, arguments: dict[str, Any], text: str) -> None:
    assert asyncio.run(_call(name, arguments, [])) == (text, False)


def test_the_slow_tool_reports_progress() -> None:
    progress: list[float] = []
    asyncio.run(_call("slow", {"seconds": 0}, progress))
    assert progress == [0, 1, 2, 3, 4]


def test_the_failing_tool_fails_with_its_message() -> None:
    text, failed = asyncio.run(_call("fail", {"message": "no such city"}, []))
    assert failed
    assert "no such city" in text


def test_it_runs_over_stdio() -> None:
    command = StdioServerParameters(command=sys.executable, args=["-m", "aibridge.demo.tools"])
    assert asyncio.run(_names(command)) == NAMES


def test_it_runs_over_http(tmp_path: Path) -> None:
    port = free_port()
    command = (sys.executable, "-m", "aibridge.demo.tools", "--http", str(port))
    url = f"http://127.0.0.1:{port}/mcp"
    with running(command, tmp_path, clean_env(tmp_path / "home"), url):
        assert asyncio.run(_names(url)) == NAMES
