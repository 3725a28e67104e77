"""Every way to steer tools, together with injected ones: what is asked upstream and what the client gets."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import product
from typing import Any

import pytest

from aibridge.bridge.memory import Memory
from tests.bridge.clock import Clock
from tests.bridge.saying import Said, Turn, replies, tool
from tests.bridge.stage import Seen, Stage, Upstream, assert_valid, staged
from tests.bridge.talking import answer_of

Json = dict[str, Any]
CUSTOM: Json = {"type": "custom", "custom": {"name": "patch"}}
TOOLS: dict[str, list[Json]] = {
    "no tools": [],
    "a function": [tool("read_file")],
    "a custom tool": [CUSTOM],
    "both": [tool("read_file"), CUSTOM],
}
NAMED = {"type": "function", "function": {"name": "read_file"}}
FORCED = {"type": "function", "function": {"name": "time__now"}}
NAMED_CUSTOM = {"type": "custom", "custom": {"name": "patch"}}
ALLOWED = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [NAMED]}}
CHOICES: dict[str, Any] = {
    "absent": None,
    "auto": "auto",
    "none": "none",
    "required": "required",
    "named": NAMED,
    "named custom": NAMED_CUSTOM,
    "forced injected": FORCED,
    "allowed": ALLOWED,
}
FORMATS: dict[str, Json] = {
    "text": {"type": "text"},
    "json_object": {"type": "json_object"},
    "json_schema": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}},
}
NEEDS = {"named": "read_file", "named custom": "patch", "allowed": "read_file"}
HIDDEN = Turn("Let me see.", (Said("call_inj", "time__now"),))
ANSWER = Turn('{"time": "12:00"}')


def _second_round(choice: str, tools: list[Json]) -> Any:
    """The `tool_choice` of round 2, by 2-wire.md."""
    if choice == "forced injected" or (choice == "required" and not tools):
        return "auto"
    return CHOICES[choice]


def _cases() -> Iterator[tuple[str, str, bool | None, str, bool]]:
    for choice, tools, parallel, shape, streamed in product(
        CHOICES, TOOLS, (None, True, False), FORMATS, (True, False)
    ):
        names = str(TOOLS[tools])
        if choice not in NEEDS or NEEDS[choice] in names:
            yield choice, tools, parallel, shape, streamed


def _request(choice: str, tools: str, parallel: bool | None, shape: str, streamed: bool) -> Json:
    body: Json = {"model": "m-1", "messages": [{"role": "user", "content": "hi"}], "stream": streamed}
    given = {
        "tools": TOOLS[tools] or None,
        "tool_choice": CHOICES[choice],
        "parallel_tool_calls": parallel,
        "response_format": FORMATS[shape],
    }
    return {**body, **{name: value for name, value in given.items() if value is not None}}


@asynccontextmanager
async def _stage() -> AsyncIterator[Stage]:
    async with staged({"time": Clock().server}, Memory()) as stage:
        yield stage


def test_a_hidden_turn_under_every_combination_is_followed_by_an_answer() -> None:
    async def play() -> int:
        count = 0
        async with _stage() as stage:
            for case in _cases():
                choice, tools, _, shape, streamed = case
                body = _request(*case)
                seen = await stage.ask(body, Upstream(replies(HIDDEN, ANSWER, streamed=streamed)))
                _assert_asked(seen, body, _second_round(choice, TOOLS[tools]))
                shown = ANSWER.text if shape != "text" else f"{HIDDEN.text}\n\n{ANSWER.text}"
                assert answer_of(seen) == {"role": "assistant", "content": shown}, case
                count += 1
        return count

    assert asyncio.run(play()) > 400


def _assert_asked(seen: Seen, body: Json, second_choice: Any) -> None:
    assert_valid(seen.requests)
    first, second = seen.requests
    own = len(body.get("tools", []))
    assert first["tools"][:own] == body.get("tools", [])
    assert all(each["function"]["name"].startswith("time__") for each in first["tools"][own:])
    assert first["tools"] == second["tools"]
    assert first.get("tool_choice") == body.get("tool_choice")
    assert second.get("tool_choice") == second_choice
    for name in ("parallel_tool_calls", "response_format"):
        assert first.get(name) == second.get(name) == body.get(name)


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("choice", ["required", "named"])
def test_a_choice_that_forces_the_clients_tool_ends_with_its_call(choice: str, streamed: bool) -> None:
    own = Said("call_own", "read_file", '{"path": "a"}')

    async def play() -> Seen:
        async with _stage() as stage:
            body = _request(choice, "a function", None, "text", streamed)
            return await stage.ask(body, Upstream(replies(HIDDEN, Turn("", (own,)), streamed=streamed)))

    seen = asyncio.run(play())
    assert seen.requests[1]["tool_choice"] == CHOICES[choice]
    assert answer_of(seen)["tool_calls"] == [own.message]


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize(
    ("reason", "field"),
    [("n", {"n": 2}), ("functions", {"functions": [{"name": "f", "parameters": {"type": "object"}}]})],
)
@pytest.mark.parametrize("tools", TOOLS)
def test_where_nothing_can_be_injected_the_body_goes_on_and_the_header_says_why(
    reason: str, field: Json, tools: str, streamed: bool
) -> None:
    async def play() -> None:
        async with _stage() as stage:
            body = {**_request("auto" if TOOLS[tools] else "absent", tools, None, "text", streamed), **field}
            seen = await stage.ask(body, Upstream(replies(ANSWER, streamed=streamed)))
            asked = {**body, "stream_options": {"include_usage": True}} if streamed else body
            assert seen.requests == [asked]
            assert seen.headers["x-aibridge-tools"] == f"off; reason={reason}"
            assert answer_of(seen)["content"] == ANSWER.text

    asyncio.run(play())


@pytest.mark.parametrize("n", [None, 1])
def test_one_answer_that_is_asked_for_by_number_has_tools(n: int | None) -> None:
    async def play() -> Seen:
        async with _stage() as stage:
            body = {**_request("absent", "no tools", None, "text", True), "n": n, "functions": []}
            return await stage.ask(body, Upstream(replies(ANSWER)))

    seen = asyncio.run(play())
    assert "x-aibridge-tools" not in seen.headers
    assert seen.requests[0]["tools"]
