"""A toolbox over server objects in this process: what is listed, called, told and refused."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from mcp import MCPError, types
from mcp.server.lowlevel import Server
from mcp.server.mcpserver import MCPServer

from aibridge.config import McpServer
from aibridge.tools import listing
from aibridge.tools.server import Server as Connection
from tests.tools.boxes import a_call, all_in, ask, names, opened, run, states, until
from tests.tools.house import House

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left")]

BOTH = pytest.mark.parametrize("mode", ["auto", "legacy"])
Answer = types.CallToolResult | types.InputRequiredResult


def house_rules(**rules: Any) -> dict[str, McpServer]:
    """The configuration of a server whose place an object in this process takes."""
    return {"house": McpServer(command="unused", **rules)}


def odd_server(answer: Callable[[str], Answer], pages: int = 1, endless: bool = False) -> Server[Any]:
    """A low-level server that lists one tool a page."""

    async def listed(_: Any, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        page = int(params.cursor) if params and params.cursor else 0
        more = endless or page + 1 < pages
        tool = types.Tool(
            name=f"tool{page}",
            input_schema={"type": "object"},
            output_schema={"type": "object", "required": ["never"]},
            execution=types.ToolExecution(task_support="required") if page == 5 else None,
        )
        return types.ListToolsResult(tools=[tool], next_cursor=str(page + 1) if more else None)

    async def called(_: Any, params: types.CallToolRequestParams) -> Answer:
        return answer(params.name)

    return Server("odd", on_list_tools=listed, on_call_tool=called)


def hello(name: str) -> Answer:
    return types.CallToolResult(content=[types.TextContent(text=f"hello from {name}")])


@BOTH
async def test_tools_are_offered_and_called(mode: str) -> None:
    async with opened(house_rules(mode=mode), {"house": House().server}) as box:
        assert "house__echo" in await names(box)
        result = await ask(box, "house__echo", text="hi")
        assert (result.status, result.text, result.error) == ("ok", "hi", None)
        assert result.call_id == "call-1"


async def test_allow_and_deny_decide_what_is_offered() -> None:
    rules = house_rules(allow=["e*", "d*"], deny=["die"])
    async with opened(rules, {"house": House().server}) as box:
        assert await names(box) == ["house__echo", "house__environment"]
        assert states(box) == {"house": {"state": "connected", "tools": 2, "error": None}}
        [denied] = [told for told in box.explain() if told.tool == "die"]
        assert (denied.name, denied.reason) == (None, "`deny` holds 'die'")


async def test_a_disabled_server_is_not_there() -> None:
    async with opened(house_rules(disabled=True), {"house": House().server}) as box:
        assert box.states() == {}


@BOTH
async def test_calls_of_one_turn_overlap(mode: str) -> None:
    async with opened(house_rules(mode=mode), {"house": House().server}) as box:
        calls = [a_call("house__meet", '{"count": 5}', id=str(at)) for at in range(5)]
        results = await run(box, *calls)
        assert [(result.call_id, result.text) for result in results] == [
            (str(at), "met 5") for at in range(5)
        ]


@BOTH
async def test_a_cancelled_turn_cancels_the_call_at_the_server(mode: str) -> None:
    house = House()
    async with opened(house_rules(mode=mode), {"house": house.server}) as box:
        running = asyncio.gather(run(box, a_call("house__hang")))
        await until(lambda: house.notes["hang began"])
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await until(lambda: house.notes["hang cancelled"])
        assert (await ask(box, "house__echo", text="still here")).text == "still here"


@BOTH
async def test_a_call_over_its_timeout_ends_and_is_cancelled_at_the_server(mode: str) -> None:
    house = House()
    async with opened(house_rules(mode=mode, timeout=0.2), {"house": house.server}) as box:
        result = await ask(box, "house__hang")
        assert result.status == "timeout"
        assert "gave no answer within 0.2 s" in result.text
        await until(lambda: house.notes["hang cancelled"])


@BOTH
async def test_a_changed_list_is_offered(mode: str) -> None:
    async with opened(house_rules(mode=mode), {"house": House().server}) as box:
        before = (await box.offer(None)).tools
        assert (await box.offer(None)).tools is before
        await ask(box, "house__grow", name="brand_new")
        await until(lambda: any(told.name == "house__brand_new" for told in box.explain()))
        assert (await ask(box, "house__brand_new")).text == "new"


async def test_wrong_arguments_are_told_by_the_server() -> None:
    async with opened({}, {"house": House().server}) as box:
        result = await ask(box, "house__echo", nonsense=1)
        assert result.status == "error"
        assert "text" in result.text


async def test_all_pages_are_listed_without_tools_that_need_a_task() -> None:
    rules = {"odd": McpServer(command="unused", mode="legacy")}
    async with opened(rules, {"odd": odd_server(hello, pages=7)}) as box:
        assert await names(box) == [f"odd__tool{at}" for at in (0, 1, 2, 3, 4, 6)]


async def test_a_list_without_an_end_is_cut() -> None:
    async with opened({}, {"odd": odd_server(hello, endless=True)}) as box:
        assert len(box.explain()) == 100


async def test_a_result_that_does_not_match_the_output_schema_is_given() -> None:
    async with opened({}, {"odd": odd_server(hello)}) as box:
        assert (await ask(box, "odd__tool0")).text == "hello from tool0"


async def test_a_tool_that_asks_a_person_is_told_that_it_cannot() -> None:
    needs_input = types.InputRequiredResult(request_state="waiting")
    async with opened({}, {"odd": odd_server(lambda name: needs_input)}) as box:
        result = await ask(box, "odd__tool0")
        assert result.status == "error"
        assert "asks for input from a person" in result.text


@BOTH
async def test_an_exception_in_a_server_tells_nothing_of_its_text(mode: str) -> None:
    def crash(name: str) -> Answer:
        raise RuntimeError("https://user:secret@example.com")

    rules = {"odd": McpServer(command="unused", mode=mode)}
    async with opened(rules, {"odd": odd_server(crash)}) as box:
        result = await ask(box, "odd__tool0")
        assert result.status == "error"
        assert "secret" not in result.text


@BOTH
async def test_a_refusal_is_told_without_addresses(mode: str) -> None:
    def refuse(name: str) -> Answer:
        raise MCPError(-32000, "Quota used up, see https://example.com/?key=secret for more")

    rules = {"odd": McpServer(command="unused", mode=mode)}
    async with opened(rules, {"odd": odd_server(refuse)}) as box:
        result = await ask(box, "odd__tool0")
        assert "Quota used up, see (address) for more" in result.text


async def test_a_call_with_stale_headers_is_sent_again_after_listing() -> None:
    asked: list[str] = []

    def picky(name: str) -> Answer:
        asked.append(name)
        if len(asked) == 1:
            raise MCPError(types.HEADER_MISMATCH, "list me again")
        return hello(name)

    async with opened({}, {"odd": odd_server(picky)}) as box:
        assert (await ask(box, "odd__tool0")).text == "hello from tool0"
        assert asked == ["tool0", "tool0"]


async def test_a_server_without_tools_is_connected() -> None:
    async with opened({}, {"bare": Server("bare")}) as box:
        assert states(box) == {"bare": {"state": "connected", "tools": 0, "error": None}}


async def test_an_object_that_is_no_server_is_told() -> None:
    async with opened({}, {"wrong": object(), "house": House().server}, connected=False) as box:
        assert "house__echo" in await names(box)
        assert box.states()["wrong"]["error"] == "A object is no MCP server."


async def test_a_call_to_a_toolbox_that_was_closed_is_a_result() -> None:
    async with opened({}, {"house": House().server}) as box:
        tools = (await box.offer(None)).tools
    [result] = await box.run([a_call("house__echo", '{"text": "a"}')], tools, lambda call, result: None)
    assert result.text == "Error: The MCP server 'house' was stopped."
    assert all_in(box, "unavailable")
    await box.aclose()


async def test_closing_ends_the_calls_that_still_run() -> None:
    house = House()
    async with opened(house_rules(mode="legacy"), {"house": house.server}) as box:
        running = asyncio.gather(ask(box, "house__hang"))
        await until(lambda: house.notes["hang began"])
    [result] = await running
    assert result.status == "error"
    assert "may have been carried out" in result.text


async def test_a_server_that_fails_at_its_start_is_tried_again() -> None:
    attempts: list[int] = []

    @asynccontextmanager
    async def lifespan(server: MCPServer[None]) -> AsyncIterator[None]:
        attempts.append(1)
        if len(attempts) == 1:
            raise ValueError("the disk at /secret/place is gone")
        yield

    connection = Connection("late", MCPServer("late", lifespan=lifespan))
    connection.start()
    await connection.known.wait()
    assert connection.error == "It failed unexpectedly (ValueError)."
    await until(lambda: connection.state == "connected")
    assert len(attempts) == 2
    await connection.aclose()


async def test_a_change_that_nobody_tells_is_found_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "RELIST_EVERY", 0.02)
    house = House()
    async with opened({}, {"house": house.server}) as box:
        house.server.add_tool(house.look, "late", structured_output=False)
        await until(lambda: any(told.name == "house__late" for told in box.explain()))
