"""What a call of an MCP tool in the process costs by itself: prints the median of many in microseconds.

Each comes between two requests to an upstream, as in a hidden round: `python -m bench.bare_call PORT`. In a
loop of nothing else, all of which the processor's caches hold, it would take a quarter less than it can in
any program that asks an upstream, too.
"""

import asyncio
import statistics
import sys
import time

import uvloop
from mcp import Client

from bench.tools import server
from bench.works import PLAIN

WARM, CALLS = 100, 500


class Upstream:
    """A connection to it, and the plainest request."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        body = PLAIN.body()
        lines = (
            "POST /v1/chat/completions HTTP/1.1",
            "host: upstream",
            f"content-length: {len(body)}",
            "",
            "",
        )
        self._request = "\r\n".join(lines).encode() + body

    async def ask(self) -> None:
        """One request and its answer."""
        self._writer.write(self._request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
        await self._reader.readexactly(int(length))


async def median(port: int) -> float:
    """Microseconds of one `add`."""
    spent: list[float] = []
    upstream = Upstream(*await asyncio.open_connection("127.0.0.1", port))
    async with Client(server(1)) as client:
        for _ in range(WARM + CALLS):
            await upstream.ask()
            begin = time.perf_counter()
            await client.call_tool("add", {"a": 19, "b": 23})
            spent.append((time.perf_counter() - begin) * 1e6)
            await upstream.ask()
    return statistics.median(spent[WARM:])


if __name__ == "__main__":
    sys.stdout.write(f"{uvloop.run(median(int(sys.argv[1]))):.1f}\n")
