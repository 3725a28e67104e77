"""The scripted model refuses what OpenAI refuses."""

from typing import Any

import pytest

from aibridge.demo.judging import objection_to

Json = dict[str, Any]
USER: Json = {"role": "user", "content": "hi"}


def _call(id: str, name: str = "add") -> Json:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": "{}"}}


def _asks(*ids: str) -> Json:
    return {"role": "assistant", "content": None, "tool_calls": [_call(id) for id in ids]}


def _answers(id: str) -> Json:
    return {"role": "tool", "tool_call_id": id, "content": "3"}


def _tool(name: str, **function: Any) -> Json:
    return {"type": "function", "function": {"name": name, **function}}


def _objection(**body: Any) -> str:
    objection = objection_to({"model": "m", "messages": [USER], **body})
    return objection.message if objection else ""


@pytest.mark.parametrize(
    "messages",
    [
        [USER],
        [{"role": "system", "content": "be brief"}, USER, {"role": "assistant", "content": "x"}],
        [USER, _asks("1", "2"), _answers("2"), _answers("1")],
        [USER, _asks("1"), _answers("1"), _asks("1"), _answers("1"), USER],
    ],
)
def test_whole_conversations_are_valid(messages: list[Json]) -> None:
    assert _objection(messages=messages) == ""


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        ([], "empty array"),
        (["hi"], "Invalid value"),
        ([{"role": "robot", "content": "x"}], "Invalid value"),
        ([{"role": "user", "content": None}], "got null"),
        ([{"role": "assistant", "content": None}], "got null"),
        ([USER, _asks("1")], "did not have response messages: 1"),
        ([USER, _asks("1", "2"), _answers("1")], "did not have response messages: 2"),
        ([USER, _asks("1"), USER, _answers("1")], "did not have response messages: 1"),
        ([USER, _answers("1")], "must be a response to a preceeding"),
        ([USER, _asks("1"), _answers("1"), _answers("1")], "must be a response to a preceeding"),
        ([USER, {"role": "assistant", "content": "x", "tool_calls": []}], "empty array"),
        ([USER, {"role": "assistant", "tool_calls": [_call("")]}], "Missing required parameter"),
        ([USER, {"role": "assistant", "tool_calls": [_call("1", "a.b")]}, _answers("1")], "function.name"),
    ],
)
def test_broken_conversations_are_refused(messages: list[Json], told: str) -> None:
    assert told in _objection(messages=messages)


@pytest.mark.parametrize(
    ("tools", "told"),
    [
        ([], "empty array"),
        ([_tool("a"), _tool("a")], "Tool names must be unique: 'a'"),
        ([_tool("a.b")], "matches the pattern"),
        ([_tool("x" * 65)], "matches the pattern"),
        ([_tool(f"t{at}") for at in range(129)], "maximum length 128, but got 129"),
        ([{"type": "mcp"}], "tools[0].type"),
        ([_tool("a", parameters={"type": "string"})], "JSON Schema of 'type: \"object\"'"),
        ([_tool("a", parameters={"type": "object"})], "missing properties"),
    ],
)
def test_tools_that_do_not_fit_are_refused(tools: list[Json], told: str) -> None:
    assert told in _objection(tools=tools)


def test_128_tools_of_both_kinds_are_valid() -> None:
    custom = {"type": "custom", "custom": {"name": "c"}}
    assert _objection(tools=[*(_tool(f"t{at}") for at in range(127)), custom]) == ""


@pytest.mark.parametrize(
    "options",
    [
        {"tool_choice": "auto"},
        {"parallel_tool_calls": True},
        {"stream_options": {"include_usage": True}},
        {"tools": [_tool("a")], "tool_choice": {"type": "function", "function": {"name": "b"}}},
    ],
)
def test_options_that_do_not_fit_are_refused(options: Json) -> None:
    assert _objection(**options)


@pytest.mark.parametrize("body", [None, [], {"messages": [USER]}, {"model": "m"}])
def test_what_is_no_request_is_refused(body: Any) -> None:
    assert objection_to(body)
