"""Opening a toolbox, calling its tools, waiting for conditions."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aibridge.config import Bridge, McpServer
from aibridge.nouns import Call, Result
from aibridge.tools import Shelf, Toolbox, from_config

STEP = 0.005


async def until(condition: Callable[[], object], what: str = "the condition", seconds: float = 20) -> None:
    """Wait until `condition` is true; AssertionError after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what} did not come true within {seconds:g} s"
        await asyncio.sleep(STEP)


def children() -> set[int]:
    """The process ids of this process's children."""
    found = Path("/proc/self/task").glob("*/children")
    return {int(pid) for path in found for pid in path.read_text().split()}


@asynccontextmanager
async def opened(
    servers: Mapping[str, McpServer] | None = None,
    in_process: Mapping[str, object] | None = None,
    connected: bool = True,
    shelf: Shelf | None = None,
    **bridge: Any,
) -> AsyncIterator[Toolbox]:
    """A started toolbox; with `connected` all of its servers are."""
    box = from_config(servers or {}, Bridge(**bridge), in_process or {}, shelf)
    box.start()
    try:
        if connected:
            await until(lambda: all_in(box, "connected"), "the connection to all servers")
        yield box
    finally:
        await box.aclose()


def all_in(box: Toolbox, state: str) -> bool:
    """Whether every server is in this state."""
    return all(each["state"] == state for each in box.states().values())


def states(box: Toolbox) -> dict[str, dict[str, Any]]:
    """Of each server what a glance shows."""
    shown = ("state", "tools", "error")
    return {name: {key: told[key] for key in shown} for name, told in box.states().items()}


def a_call(name: str, arguments: str = "", id: str = "call-1") -> Call:
    """A call as a model makes it."""
    return Call(id, name, arguments, injected=True)


async def run(box: Toolbox, *calls: Call) -> list[Result]:
    """Run `calls` as one turn of an exchange that was offered everything."""
    return await box.run(calls, (await box.offer(None)).tools, lambda call, result: None)


async def ask(box: Toolbox, name: str, /, **arguments: Any) -> Result:
    """The result of one call."""
    [result] = await run(box, a_call(name, json.dumps(arguments)))
    return result


async def names(box: Toolbox, wanted: str | None = None) -> list[str]:
    """The names that are offered."""
    return [tool.name for tool in (await box.offer(wanted)).tools]
