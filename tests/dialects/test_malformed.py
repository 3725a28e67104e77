"""What clients and providers should not send is refused or passed over, never a bug's 500."""

import json
from typing import Any

import pytest

from aibridge.dialects import OPENAI
from aibridge.dialects.base import Manner
from aibridge.dialects.responses import Responses
from aibridge.errors import BridgeError, Kind
from aibridge.nouns import Tool

TOOLS = (Tool("time__now", "time", "now", "", {}),)
QUESTION: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize("tools", [{}, "", 0, False, "x", 1])
def test_tools_that_are_no_list_are_refused(tools: Any) -> None:
    with pytest.raises(BridgeError, match="`tools` has to be a list") as refused:
        OPENAI.read(json.dumps({**QUESTION, "tools": tools}).encode())
    assert refused.value.kind is Kind.BAD_REQUEST


@pytest.mark.parametrize("tools", [None, []])
def test_no_tools_of_the_clients_own_is_no_obstacle(tools: Any) -> None:
    request = OPENAI.read(json.dumps({**QUESTION, "tools": tools}).encode()).with_tools(TOOLS)
    assert [each["function"]["name"] for each in json.loads(request.body)["tools"]] == ["time__now"]


@pytest.mark.parametrize("calls", [7, "x", {}, [7, None], True])
def test_calls_that_are_none_are_passed_over_in_the_clients_messages(calls: Any) -> None:
    messages = [*QUESTION["messages"], {"role": "assistant", "tool_calls": calls}]
    request = OPENAI.read(json.dumps({**QUESTION, "messages": messages}).encode())
    assert [said.calls for _, said in request.visible()] == [(), ()]


@pytest.mark.parametrize("calls", [7, "x", {}, [7, None], True])
def test_calls_that_are_none_are_passed_over_in_an_answer(calls: Any) -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "hi", "tool_calls": calls}}
    body = json.dumps({"id": "1", "choices": [{**choice, "finish_reason": "stop"}]}).encode()
    view = OPENAI.read(json.dumps(QUESTION).encode()).view(TOOLS, Manner(""))
    current = view.open_round()
    current.take(body)
    assert current.finish()[0].calls == []
    assert view.close() == body


@pytest.mark.parametrize("calls", [7, "x", {}, [7, None], True])
def test_calls_that_are_none_are_passed_over_in_a_stream(calls: Any) -> None:
    chunk = {"id": "1", "choices": [{"index": 0, "delta": {"tool_calls": calls}, "finish_reason": "stop"}]}
    view = OPENAI.read(json.dumps({**QUESTION, "stream": True}).encode()).view(TOOLS, Manner(""))
    current = view.open_round()
    current.take(b"data: " + json.dumps(chunk).encode() + b"\n\n")
    assert current.finish()[0].calls == []


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"model": "m", "messages": []}, "belongs to /v1/chat/completions"),
        ({"model": "m", "input": 7}, "`input` has to be"),
        ({"model": "m", "input": "x", "tools": {}}, "`tools` has to be a list"),
        ({"input": "x"}, "no `model`"),
        ([], "not a JSON object"),
    ],
)
def test_responses_that_are_asked_wrongly_are_refused_in_a_sentence(body: Any, told: str) -> None:
    with pytest.raises(BridgeError, match=told) as refused:
        Responses().read(json.dumps(body).encode())
    assert refused.value.kind is Kind.BAD_REQUEST


@pytest.mark.parametrize("item", [7, None, {}, [], {"type": 3}, {"role": 5}, {"type": "function_call"}])
def test_items_that_are_none_are_passed_over(item: Any) -> None:
    request = Responses().read(json.dumps({"model": "m", "input": ["x", item, item]}).encode())
    assert all(isinstance(place, int) for place, _ in request.visible())
    assert json.loads(request.with_tools(TOOLS).body)["input"] == ["x", item, item]
