"""The MCP servers of a configuration, connected for a command that looks at them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aibridge.cli.options import fail

if TYPE_CHECKING:
    from aibridge.config import Config
    from aibridge.tools import Toolbox

PATIENCE = 15.0
"""Seconds for an MCP server to connect; `uvx` and `npx` may have to fetch it first."""
WELL = frozenset({"connected", "idle"})


@asynccontextmanager
async def opened_box(settings: "Config") -> "AsyncIterator[Toolbox]":
    """A started toolbox that knows what was kept by a server with this configuration."""
    from aibridge import records
    from aibridge.tools import from_config

    try:
        shelf = await asyncio.to_thread(records.open_tool_shelf, settings.records)
    except records.RecordsError as error:
        fail(str(error))
    box = from_config(settings.mcp_servers, settings.bridge, shelf=shelf)
    box.start()
    try:
        yield box
    finally:
        await box.aclose()
        if shelf is not None:
            shelf.close()


async def settled(toolbox: "Toolbox") -> dict[str, dict[str, Any]]:
    """The servers' states once each is connected or failed, or patience ends."""
    end = asyncio.get_running_loop().time() + PATIENCE
    while True:
        states = toolbox.states()
        open_ = [each for each in states.values() if each["state"] == "connecting"]
        if not open_ or asyncio.get_running_loop().time() > end:
            return states
        await asyncio.sleep(0.05)


def silent(states: dict[str, dict[str, Any]]) -> list[str]:
    """A sentence about each server that is not there."""
    return [
        f"MCP server '{name}' is not connected: {state['error'] or 'it did not answer in time'}"
        for name, state in states.items()
        if state["state"] not in WELL
    ]
