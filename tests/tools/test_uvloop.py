"""uvloop runs child processes and pipes its own way; production runs on it."""

import asyncio
import sys
from pathlib import Path

import uvloop

from aibridge.config import McpServer
from tests.tools.boxes import ask, children, opened

ROOT = Path(__file__).parents[2]


async def _a_life() -> str:
    house = McpServer(command=sys.executable, args=["-m", "tests.tools.house"], cwd=str(ROOT))
    async with opened({"house": house}) as box:
        await ask(box, "house__say", line="to stderr")
        assert (await ask(box, "house__die")).status == "error"
        return (await ask(box, "house__echo", text="alive")).text


def test_a_program_lives_dies_and_comes_back_on_uvloop() -> None:
    before = children()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(_a_life()) == "alive"
    assert children() <= before
