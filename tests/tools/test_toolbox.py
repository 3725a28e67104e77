"""The toolbox as a whole: what an exchange waits for, and what it never waits for."""

import asyncio
import subprocess
import sys

import pytest

from aibridge.bridge import ports
from aibridge.config import Bridge, McpServer
from aibridge.nouns import Call, Result
from aibridge.tools import Toolbox, from_config
from tests.tools.boxes import a_call, names, opened, run, states, until
from tests.tools.house import House

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left")]

MUTE = {"mute": McpServer(command="sleep", args=["1000"])}


def as_port(box: Toolbox) -> ports.Toolbox:
    """Checked by mypy: the toolbox is what the engine asks for."""
    return box


async def test_without_servers_there_is_nothing_and_no_waiting() -> None:
    async with opened() as box:
        assert (await as_port(box).offer(None)).tools == ()
        assert box.states() == {}


async def test_a_box_that_never_started_offers_nothing_and_closes() -> None:
    box = from_config(MUTE, Bridge())
    assert await names(box) == []
    assert states(box) == {"mute": {"state": "connecting", "tools": 0, "error": None}}
    await box.aclose()


async def test_the_first_exchange_waits_for_the_first_connection() -> None:
    async with opened(in_process={"house": House().server}, connected=False) as box:
        assert "house__echo" in await names(box)


async def test_a_mute_server_is_waited_for_two_seconds_once() -> None:
    async with opened(MUTE, connected=False) as box:
        clock = asyncio.get_running_loop().time
        begun = clock()
        assert await names(box) == []
        assert 1.5 < clock() - begun < 4
        offering = asyncio.gather(box.offer(None))
        await until(offering.done, "an offer without waiting", seconds=1)


async def test_wanting_narrows_the_offer() -> None:
    async with opened(in_process={"house": House().server, "other": House().server}) as box:
        assert await names(box, "house__echo,other__e*") == [
            "house__echo",
            "other__echo",
            "other__environment",
        ]


async def test_a_turn_runs_over_several_servers_and_tells_each_call() -> None:
    told: list[tuple[Call, Result]] = []
    async with opened(in_process={"a": House().server, "b": House().server}) as box:
        calls = [
            a_call("b__echo", '{"text": "two"}', id="2"),
            a_call("a__echo", '{"text": "one"}', id="1"),
            a_call("a__echo", "{", id="3"),
            a_call("c__echo", "{}", id="4"),
        ]
        results = await box.run(
            calls, (await box.offer(None)).tools, lambda call, result: told.append((call, result))
        )
    assert [(result.call_id, result.status) for result in results] == [
        ("2", "ok"),
        ("1", "ok"),
        ("3", "invalid_arguments"),
        ("4", "error"),
    ]
    assert sorted(call.id for call, _ in told) == ["1", "2", "3", "4"]


async def test_no_more_calls_run_at_a_time_than_configured() -> None:
    house = House()
    config = {"house": McpServer(command="unused", timeout=0.3)}
    async with opened(config, {"house": house.server}, parallel_tool_calls=2) as box:
        running = asyncio.gather(run(box, *(a_call("house__hang", id=str(at)) for at in range(3))))
        await until(lambda: house.notes["hang began"] == 2)
        [results] = await running
        assert house.notes["hang began"] == 3
        assert [result.status for result in results] == ["timeout"] * 3


async def test_a_result_is_cut_at_the_configured_length() -> None:
    async with opened(in_process={"house": House().server}, tool_result_limit=10) as box:
        [result] = await run(box, a_call("house__big", '{"size": 50}'))
        assert result.text == "x" * 10 + "\n[Cut here: these are the first 10 of 50 characters.]"


async def test_mcp_is_imported_only_when_a_server_starts() -> None:
    check = "import sys, aibridge.tools; sys.exit('mcp' in sys.modules or 'httpx2' in sys.modules)"
    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", check])
    assert done.returncode == 0
