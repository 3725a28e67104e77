"""The calls of one turn: all at once, each with one result, whatever happens."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from aibridge.nouns import Call, CallStatus, Result, Tool
from aibridge.tools.failures import CallFailed, one_sentence
from aibridge.tools.runner import Turn
from tests.tools.boxes import a_call, until

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left")]

TOOLS = [Tool(f"s__{name}", "s", name, "", {}) for name in ("echo", "hang", "fail", "crash", "refuse")]


def _told(_tool: Tool, text: str) -> str:
    return one_sentence(text)


class Desk:
    """Runs calls by the tool's name, and remembers what it did."""

    def __init__(self, at_a_time: int = 8, limit: int = 1000) -> None:
        self.asked: list[Mapping[str, Any]] = []
        self.told: list[tuple[str, CallStatus]] = []
        self.inside, self.most = 0, 0
        self._at_a_time, self._limit = at_a_time, limit
        self.go = asyncio.Event()

    async def invoke(self, tool: Tool, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        self.asked.append(arguments)
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            if tool.own_name == "hang":
                await self.go.wait()
        finally:
            self.inside -= 1
        match tool.own_name:
            case "fail":
                raise CallFailed("timeout", "It took too long.")
            case "crash":
                raise KeyError("https://user:secret@example.com")
            case "refuse":
                return {"content": [{"type": "text", "text": "no"}], "isError": True}
        return {"content": [{"type": "text", "text": str(dict(arguments))}]}

    def finished(self, call: Call, result: Result) -> None:
        assert call.id == result.call_id
        self.told.append((call.id, result.status))

    async def run(self, *calls: Call) -> list[Result]:
        ends, most = (self.finished, self.invoke, _told), (self._at_a_time, self._limit)
        return await Turn(calls, TOOLS, *ends, at_a_time=most[0], limit=most[1]).run()


async def test_no_calls_give_no_results() -> None:
    assert await Desk().run() == []


async def test_results_come_in_call_order_whatever_ends_first() -> None:
    desk = Desk()
    running = asyncio.gather(desk.run(a_call("s__hang", id="1"), a_call("s__echo", id="2")))
    await until(lambda: desk.told == [("2", "ok")])
    desk.go.set()
    [results] = await running
    assert [result.call_id for result in results] == ["1", "2"]
    assert desk.told == [("2", "ok"), ("1", "ok")]


async def test_only_so_many_calls_run_at_a_time() -> None:
    desk = Desk(at_a_time=2)
    running = asyncio.gather(desk.run(*(a_call("s__hang", id=str(at)) for at in range(5))))
    await until(lambda: desk.inside == 2)
    desk.go.set()
    [results] = await running
    assert desk.most == 2
    assert [result.status for result in results] == ["ok"] * 5


@pytest.mark.parametrize("nothing", ["", "  ", "null", "{}"])
async def test_no_arguments_are_an_empty_object(nothing: str) -> None:
    desk = Desk()
    [result] = await desk.run(a_call("s__echo", nothing))
    assert (desk.asked, result.status) == ([{}], "ok")


@pytest.mark.parametrize("raw", ['{"a": ', "[1]", '"text"', "3", '{"a": NaN}', "[" * 100_000])
async def test_arguments_that_are_no_object_are_quoted_and_nothing_is_called(raw: str) -> None:
    desk = Desk()
    [result] = await desk.run(a_call("s__echo", raw))
    assert result.status == "invalid_arguments"
    assert raw[:500] in result.text
    assert len(result.text) < 1100
    assert result.error
    assert raw not in result.error
    assert desk.asked == []


async def test_a_tool_that_was_not_offered_is_told_to_the_model() -> None:
    [result] = await Desk().run(a_call("s__secret_tool"))
    assert (result.status, result.text) == ("error", "Error: There is no tool named 's__secret_tool'.")


async def test_a_failure_is_a_result_with_its_sentence() -> None:
    [result] = await Desk().run(a_call("s__fail"))
    assert (result.status, result.text) == ("timeout", "Error: It took too long.")
    assert result.error == "It took too long."


async def test_a_result_that_is_an_error_has_the_status_error() -> None:
    [result] = await Desk().run(a_call("s__refuse"))
    assert (result.status, result.text, result.error) == ("error", "Error: no", "no")


async def test_an_unexpected_exception_tells_nothing_of_its_text() -> None:
    [result] = await Desk().run(a_call("s__crash"))
    assert result.status == "error"
    assert result.text == "Error: The tool 's__crash' failed unexpectedly (KeyError)."


async def test_a_long_result_is_cut() -> None:
    [result] = await Desk(limit=5).run(a_call("s__echo", '{"a": "long enough"}'))
    assert result.text.startswith("{'a':\n[Cut here")


async def test_every_call_is_told_when_the_turn_is_cancelled() -> None:
    desk = Desk(at_a_time=2)
    calls = (a_call("s__echo", id="0"), *(a_call("s__hang", id=str(at)) for at in range(1, 4)))
    running = asyncio.gather(desk.run(*calls))
    await until(lambda: desk.inside == 2)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert desk.told == [("0", "ok"), ("1", "cancelled"), ("2", "cancelled"), ("3", "cancelled")]
    assert desk.inside == 0


async def test_a_turn_that_is_cancelled_as_it_begins_is_told_too() -> None:
    desk = Desk()
    running = asyncio.gather(desk.run(a_call("s__hang")))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert desk.told == [("call-1", "cancelled")]
    assert desk.inside == 0
