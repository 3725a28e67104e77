"""An MCP server whose tools misbehave on demand and note what happens to them.

In process and behind a socket its notes are read directly; `python -m tests.tools.house` runs it as a
program over stdio, `--http PORT` or
`--sse PORT` over HTTP, and its notes are lines of the file that `--notes` names.
"""

import argparse
import asyncio
import os
import signal
import sys
from collections import Counter
from pathlib import Path

from mcp.server.mcpserver import Context, MCPServer
from mcp.types import ToolAnnotations


class House:
    """The server, and what its tools did."""

    def __init__(self, notes: Path | None = None) -> None:
        self.notes: Counter[str] = Counter()
        self._file = notes
        self._inside, self._all_here = 0, asyncio.Event()
        self.server = MCPServer("house", log_level="WARNING")
        for tool in (self.echo, self.die, self.hang, self.meet, self.big, self.say, self.environment):
            self.server.tool(structured_output=False)(tool)
        self.server.tool(structured_output=False)(self.grow)
        self.server.tool(structured_output=False)(self.work)
        self.server.tool(structured_output=False)(self.who)
        self.server.tool(annotations=ToolAnnotations(destructive_hint=True), structured_output=False)(
            self.wipe
        )
        self.server.tool(annotations=ToolAnnotations(read_only_hint=True), structured_output=False)(self.look)

    def note(self, what: str) -> None:
        """Remember that it happened."""
        self.notes[what] += 1
        if self._file is not None:
            with self._file.open("a") as file:
                print(what, file=file)

    async def echo(self, text: str) -> str:
        """Say the same."""
        self.note(f"echo {text}")
        return text

    async def die(self) -> str:
        """Kill the server in the middle of a call."""
        self.note("die")
        os.kill(os.getpid(), signal.SIGKILL)
        return "never"

    async def hang(self) -> str:
        """Never answer."""
        self.note("hang began")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.note("hang cancelled")
            raise
        return "never"

    async def meet(self, count: int) -> str:
        """Answer only once so many calls are here at the same time."""
        self._inside += 1
        if self._inside >= count:
            self._all_here.set()
        await self._all_here.wait()
        return f"met {count}"

    async def big(self, size: int) -> str:
        """So many characters."""
        return "x" * size

    async def say(self, line: str) -> str:
        """Write to stderr."""
        print(line, file=sys.stderr, flush=True)
        return "said"

    async def environment(self) -> str:
        """The names of the environment's variables, and the value of SECRET."""
        return " ".join([*sorted(os.environ), os.environ.get("SECRET", "")])

    async def work(self, steps: int, seconds: float, context: Context) -> str:
        """Take so many steps of so many seconds, and report each."""
        for step in range(steps):
            await context.report_progress(step, steps)
            await asyncio.sleep(seconds)
        return "worked"

    async def who(self, context: Context) -> str:
        """Whose header came with the call."""
        await asyncio.sleep(0)
        return (context.headers or {}).get("x-user", "nobody")

    async def wipe(self) -> str:
        """Says of itself that it may destroy."""
        return "wiped"

    async def look(self) -> str:
        """Says of itself that it changes nothing."""
        return "seen"

    async def grow(self, name: str, context: Context) -> str:
        """Get a new tool and tell everybody."""

        async def added() -> str:
            return "new"

        self.server.add_tool(added, name, structured_output=False)
        await context.notify_tools_changed()
        if (context.protocol_version or "") < "2026":
            await context.session.send_tool_list_changed()
        return f"has {name}"


def main() -> None:
    """Serve until the client goes away."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--http", type=int)
    parser.add_argument("--sse", type=int)
    parser.add_argument("--notes", type=Path)
    options = parser.parse_args()
    house = House(options.notes)
    house.note(f"started {os.getpid()}")
    if options.http:
        house.server.run("streamable-http", port=options.http)
    elif options.sse:
        house.server.run("sse", port=options.sse)
    else:
        house.server.run("stdio")


if __name__ == "__main__":
    main()
