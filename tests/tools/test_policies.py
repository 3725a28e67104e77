"""What is left out of an offer by rule, what is told of it, and how long a call may take."""

import asyncio
from typing import Any

import pytest

from aibridge.config import McpServer
from aibridge.errors import BridgeError
from aibridge.nouns import MOST_TOOLS
from aibridge.tools import Toolbox
from tests.tools.boxes import ask, names, opened, until
from tests.tools.house import House

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left")]

DEAD = "/no/such/program"
BOTH = pytest.mark.parametrize("mode", ["auto", "legacy"])


def dead(**more: Any) -> McpServer:
    return McpServer(command=DEAD, **more)


def one_house(**more: Any) -> dict[str, McpServer]:
    return {"house": McpServer(command="unused", **more)}


async def test_a_server_that_is_away_is_named_and_the_others_are_offered() -> None:
    async with opened({"dead": dead()}, {"house": House().server}, connected=False) as box:
        offer = await box.offer(None)
        assert offer.unavailable == ("dead",)
        assert "house__echo" in [tool.name for tool in offer.tools]
        assert box.states()["dead"]["skipped"] == 1


async def test_a_server_that_was_not_asked_for_is_not_missed() -> None:
    async with opened({"dead": dead(on_unavailable="fail")}, {"house": House().server}, False) as box:
        for wanted in ("house", "house__echo", "ho*", "house__e*,other"):
            assert (await box.offer(wanted)).unavailable == ()


@pytest.mark.parametrize("wanted", [None, "dead", "dead__anything", "de*", "*__anything", "*thing"])
async def test_a_request_that_needs_a_server_that_is_away_is_refused(wanted: str | None) -> None:
    async with opened({"dead": dead(on_unavailable="fail")}, {"house": House().server}, False) as box:
        with pytest.raises(BridgeError, match="not available: dead") as refused:
            await box.offer(wanted)
        assert (refused.value.kind.status, refused.value.kind.code) == (503, "tools_unavailable")
        assert refused.value.retry_after


async def _offered(box: Toolbox) -> set[str]:
    return {name.removeprefix("house__") for name in await names(box)}


async def test_tools_annotated_as_destructive_can_be_left_out() -> None:
    async with opened(one_house(), {"house": House().server}) as box:
        assert {"wipe", "look", "echo"} <= await _offered(box)
    async with opened(one_house(allow_destructive=False), {"house": House().server}) as box:
        offered = await _offered(box)
        assert {"look", "echo"} <= offered and "wipe" not in offered
        [wipe] = [told for told in box.explain() if told.tool == "wipe"]
        assert wipe.destructive and "annotated as destructive" in str(wipe.reason)
        [look] = [told for told in box.explain() if told.tool == "look"]
        assert look.read_only and look.reason is None


async def test_of_too_many_tools_the_first_by_name_are_given_and_the_others_explained() -> None:
    house = House()
    for at in range(MOST_TOOLS):
        house.server.add_tool(house.look, f"many{at:03}", structured_output=False)
    async with opened({}, {"house": house.server}) as box:
        offered = await names(box)
        told = {each.tool: each.reason or "" for each in box.explain()}
        late = [name.removeprefix("house__") for name in offered[MOST_TOOLS:]]
        assert late and all("at most 128 tools" in told[tool] for tool in late)
        assert not any("at most" in told[name.removeprefix("house__")] for name in offered[:MOST_TOOLS])
        assert not any("at most" in (each.reason or "") for each in box.explain("house__many*"))


@BOTH
async def test_progress_is_a_sign_of_life(mode: str) -> None:
    async with opened(one_house(mode=mode, timeout=1.5), {"house": House().server}) as box:
        assert (await ask(box, "house__work", steps=40, seconds=0.05)).text == "worked"


@BOTH
async def test_a_call_ends_after_all_its_time_whatever_its_progress(mode: str) -> None:
    rules = one_house(mode=mode, timeout=5, timeout_total=0.4)
    async with opened(rules, {"house": House().server}) as box:
        result = await ask(box, "house__work", steps=100_000, seconds=0.02)
        assert result.status == "timeout"
        assert "did not end within 0.4 s" in result.text


async def test_sixteen_megabytes_over_stdio_are_cut_and_not_fatal(house_program: McpServer) -> None:
    async with opened({"house": house_program}, tool_result_limit=1000) as box:
        result = await ask(box, "house__big", size=16 << 20)
        assert result.status == "ok"
        assert result.text.endswith(f"the first 1000 of {16 << 20} characters.]")
        assert (await ask(box, "house__echo", text="still here")).text == "still here"


async def test_states_tell_how_a_server_has_been() -> None:
    async with opened({}, {"house": House().server}) as box:
        before = box.states()["house"]
        assert before["connected_since"] and before["calls"] == 0 and before["p99_ms"] is None
        await asyncio.gather(*(ask(box, "house__echo", text="hi") for _ in range(4)))
        told = box.states()["house"]
        assert (told["calls"], told["failed_calls"], told["restarts"]) == (4, 0, 0)
        assert 0 < told["p50_ms"] <= told["p99_ms"]


async def test_states_tell_restarts_and_the_last_error(house_program: McpServer) -> None:
    async with opened({"house": house_program}) as box:
        assert (await ask(box, "house__die")).status == "error"
        await until(lambda: box.states()["house"]["restarts"] == 1)
        told = box.states()["house"]
        assert (told["state"], told["error"]) == ("connected", None)
        assert told["last_error"] == "Its connection ended."
        assert told["failed_calls"] == 1
