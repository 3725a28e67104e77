"""An MCP server in the process: `add`, which the mock upstream calls, and as many more tools as wanted."""

from typing import Annotated

from mcp.server.mcpserver import MCPServer
from pydantic import Field


async def add(a: float, b: float) -> str:
    """Add two numbers and tell the sum."""
    return f"{a + b:g}"


def look_up(
    query: Annotated[str, Field(description="what to look for, in plain words")],
    limit: Annotated[int, Field(description="how many entries at most")] = 10,
    newest_first: Annotated[bool, Field(description="whether newer entries come before older ones")] = True,
) -> str:
    """Look up entries that fit the query, and give their titles and a line of each."""
    return f"{query}: nothing in {limit} entries, newest first: {newest_first}"


def server(count: int) -> MCPServer:
    """A server with `count` tools."""
    made = MCPServer("bench")
    made.tool(structured_output=False)(add)
    for number in range(1, count):
        made.tool(name=f"look_up_{number}", structured_output=False)(look_up)
    return made
