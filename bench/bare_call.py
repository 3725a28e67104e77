"""What a call of an MCP tool in the process costs by itself: prints the median of many in microseconds."""

import statistics
import sys
import time

import uvloop
from mcp import Client

from bench.tools import server

WARM, CALLS = 100, 500


async def median() -> float:
    """Microseconds of one `add`."""
    spent: list[float] = []
    async with Client(server(1)) as client:
        for _ in range(WARM + CALLS):
            begin = time.perf_counter()
            await client.call_tool("add", {"a": 19, "b": 23})
            spent.append((time.perf_counter() - begin) * 1e6)
    return statistics.median(spent[WARM:])


if __name__ == "__main__":
    sys.stdout.write(f"{uvloop.run(median()):.1f}\n")
