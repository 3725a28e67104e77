"""An MCP server `time` for conversations: names that begin alike, and tools that fail, hang, or say much."""

import asyncio
from collections import Counter

from mcp.server.mcpserver import Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError

FAILED = "there is no such zone"
PIXEL = bytes.fromhex("89504e470d0a1a0a")


class Clock:
    """The server, and how often its tools answered and were cancelled."""

    def __init__(self) -> None:
        self.answered, self.cancelled = Counter[str](), Counter[str]()
        self.hanging = asyncio.Event()
        """Set once a call hangs."""
        self.server = MCPServer("time", log_level="WARNING")
        for each in (self.now, self.now_utc, self.fails, self.hangs, self.long, self.face):
            self.server.tool(structured_output=False)(each)

    async def now(self, n: int = 0) -> str:
        """The time."""
        self.answered["now"] += 1
        return f"12:{n:02}"

    async def now_utc(self, n: int = 0) -> str:
        """The time in UTC."""
        self.answered["now_utc"] += 1
        return f"10:{n:02} UTC"

    async def fails(self) -> str:
        """Never works."""
        raise ToolError(FAILED)

    async def hangs(self) -> str:
        """Never answers."""
        self.hanging.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled["hangs"] += 1
            raise
        return "never"

    async def long(self, size: int = 5_000_000) -> str:
        """So many characters."""
        return "x" * size

    async def face(self) -> Image:
        """A picture."""
        return Image(data=PIXEL, format="png")
