"""A small MCP server with a few plain tools, for the demo, tests and benchmarks.

`python -m aibridge.demo.tools` speaks stdio; with `--http PORT` it serves streamable HTTP at /mcp.
mcp is imported only when a server is made.
"""

import argparse
import asyncio
import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aibridge import __version__

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

_SKIES = ("clear", "cloudy", "rain", "snow", "fog")
_STEPS = 5


def add(a: float, b: float) -> str:
    """Add two numbers."""
    return f"{a + b:g}"


def weather(city: str) -> str:
    """The weather in a city: made up, but always the same for the same city."""
    dice = hashlib.sha256(city.strip().lower().encode()).digest()
    return f"{_SKIES[dice[0] % len(_SKIES)]}, {dice[1] % 36 - 5} °C in {city}"


def now() -> str:
    """The current time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def create_server() -> "MCPServer":
    """The server with its tools: add, weather, now, slow, fail."""
    from mcp.server.mcpserver import Context, MCPServer
    from mcp.server.mcpserver.exceptions import ToolError

    server = MCPServer(
        "aibridge-demo", version=__version__, instructions="A few plain tools to try aibridge with."
    )

    async def slow(seconds: float, context: Context) -> str:
        """Wait, and report progress meanwhile."""
        for step in range(_STEPS):
            await context.report_progress(step, _STEPS, f"step {step + 1} of {_STEPS}")
            await asyncio.sleep(seconds / _STEPS)
        return f"waited {seconds:g} s"

    async def fail(message: str = "it did not work") -> str:
        """Fail with a message."""
        raise ToolError(message)

    tools: tuple[Callable[..., Any], ...] = (add, weather, now, slow, fail)
    for tool in tools:
        server.tool(structured_output=False)(tool)
    return server


def main() -> None:
    """Serve until the client goes away or Ctrl-C."""
    parser = argparse.ArgumentParser(description="A small MCP server to try aibridge with.")
    parser.add_argument("--http", type=int, metavar="PORT", help="serve streamable HTTP instead of stdio")
    options = parser.parse_args()
    if options.http is None:
        create_server().run("stdio")
    else:
        create_server().run("streamable-http", port=options.http)


if __name__ == "__main__":
    main()
