"""Conversations that every SDK must be able to have through aibridge, whichever way it asks.

A test module of an SDK makes a class of these and gives the fixture `ask`, one value per way of asking.
Where `base_url` is used, the conversation is had with the model alone as well: aibridge must not be noticed.
"""

import json
from typing import Any

import pytest

from aibridge.demo import chat
from tests.end_to_end.asking import Answer, Ask, Failed, Json, Question
from tests.support.bridge import Bridge
from tests.support.serving import Model

COLOUR: Json = {
    "type": "function",
    "function": {
        "name": "colour",
        "description": "Pick a colour.",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"shade": {"type": "string"}},
            "required": ["shade"],
            "additionalProperties": False,
        },
    },
}
COLOUR_CALL = ("colour", '{"shade":"dark"}')
ADD = 'call add {"a":1,"b":2}'
FIGURES = ("prompt_tokens", "completion_tokens", "total_tokens")
KINDS = {
    400: "BadRequestError",
    401: "AuthenticationError",
    404: "NotFoundError",
    429: "RateLimitError",
    500: "InternalServerError",
}


def said(text: str) -> Json:
    """A user's message."""
    return {"role": "user", "content": text}


def result(answer: Answer, text: str, at: int = 0) -> Json:
    """The client's result for its call `at`."""
    return {"role": "tool", "tool_call_id": answer.message["tool_calls"][at]["id"], "content": text}


def answered(ask: Ask, base_url: str, *messages: Json, **more: Any) -> Answer:
    """The answer to a conversation."""
    outcome = ask(Question(base_url, {"model": "scripted-1", "messages": list(messages), **more}))
    assert isinstance(outcome, Answer), outcome
    return outcome


def failed(ask: Ask, base_url: str, text: str) -> Failed:
    """The failure that the client saw."""
    outcome = ask(Question(base_url, {"model": "scripted-1", "messages": [said(text)]}))
    assert isinstance(outcome, Failed), outcome
    return outcome


def assert_seamless(answer: Answer) -> None:
    """One id, one role, one finish reason, calls counted from 0, and no trace of an injected tool."""
    assert "demo__" not in json.dumps([answer.message, answer.chunks])
    streamed = [chunk for chunk in answer.chunks if chunk["object"] == "chat.completion.chunk"]
    if not streamed:
        return
    for key in ("id", "created", "model", "system_fingerprint"):
        assert len({chunk[key] for chunk in streamed}) == 1, key
    choices = [choice for chunk in streamed for choice in chunk["choices"]]
    assert sum(1 for choice in choices if choice["delta"].get("role")) == 1
    assert sum(1 for choice in choices if choice["finish_reason"]) == 1
    pieces = [piece for choice in choices for piece in choice["delta"].get("tool_calls") or ()]
    opened = [piece["index"] for piece in pieces if piece.get("id")]
    assert opened == list(range(len(opened)))


def sum_of(model: Model) -> Json:
    """The usage of all rounds together."""
    rounds = [each.usage or {} for each in model.asked]
    return {key: sum(usage[key] for usage in rounds) for key in FIGURES}


class SdkConversations:
    """The conversations; `ask` is a way of asking, `base_url` both doors, `bridge` the bridge alone."""

    def test_text_arrives(self, ask: Ask, base_url: str) -> None:
        answer = answered(ask, base_url, said("say Hello, you."))
        assert (answer.text, answer.calls, answer.finish_reason) == ("Hello, you.", [], "stop")

    def test_the_client_runs_its_own_tool(self, ask: Ask, base_url: str) -> None:
        first = said('say One moment. call colour {"shade":"dark"}')
        asked = answered(ask, base_url, first, tools=[COLOUR])
        assert (asked.text, asked.calls) == ("One moment.", [COLOUR_CALL])
        assert asked.finish_reason == "tool_calls"
        told = answered(ask, base_url, first, asked.message, result(asked, "navy"), tools=[COLOUR])
        assert (told.text, told.finish_reason) == ("colour answered: navy", "stop")

    def test_an_injected_tool_is_run_unseen(self, ask: Ask, bridge: Bridge, model: Model) -> None:
        answer = answered(ask, bridge.base_url, said(f"say I add. and {ADD}"))
        assert answer.text == "I add.\n\nadd answered: 3"
        assert (answer.calls, answer.finish_reason) == ([], "stop")
        assert_seamless(answer)
        assert [(each.round, each.status) for each in model.asked] == [(1, 200), (2, 200)]

    def test_injected_calls_of_one_turn_all_run(self, ask: Ask, bridge: Bridge, model: Model) -> None:
        more = 'call add {"a":3,"b":4} and call weather {"city":"Oslo"}'
        answer = answered(ask, bridge.base_url, said(f"{ADD} and {more}"))
        assert answer.text == "add answered: 3\nadd answered: 7\nweather answered: rain, -4 °C in Oslo"
        assert_seamless(answer)
        sent = model.asked[1].body["messages"][1:]
        assert [each["role"] for each in sent] == ["assistant", "tool", "tool", "tool"]
        assert [each["tool_call_id"] for each in sent[1:]] == [each["id"] for each in sent[0]["tool_calls"]]

    def test_several_hidden_rounds_give_one_answer(self, ask: Ask, bridge: Bridge, model: Model) -> None:
        script = f'say First. and {ADD} then say Second. and call add {{"a":3,"b":4}} then call fail'
        answer = answered(ask, bridge.base_url, said(script))
        begin, _, end = answer.text.partition("add answered: 3\nadd answered: 7\nfail answered: ")
        assert begin == "First.\n\nSecond.\n\n"
        assert "it did not work" in end
        assert_seamless(answer)
        assert [each.round for each in model.asked] == [1, 2, 3, 4]

    def test_after_a_hidden_call_the_client_gets_its_own(self, ask: Ask, bridge: Bridge) -> None:
        first = said(f'{ADD} then call colour {{"shade":"dark"}}')
        asked = answered(ask, bridge.base_url, first, tools=[COLOUR])
        assert (asked.calls, asked.finish_reason) == ([COLOUR_CALL], "tool_calls")
        assert_seamless(asked)

    def test_a_turn_with_both_kinds_of_calls(self, ask: Ask, bridge: Bridge) -> None:
        first = said(f'{ADD} and call colour {{"shade":"dark"}} and call weather {{"city":"Oslo"}}')
        asked = answered(ask, bridge.base_url, first, tools=[COLOUR])
        assert (asked.calls, asked.finish_reason) == ([COLOUR_CALL], "tool_calls")
        assert_seamless(asked)
        told = answered(ask, bridge.base_url, first, asked.message, result(asked, "navy"), tools=[COLOUR])
        assert "colour answered: navy" in told.text
        assert told.finish_reason == "stop"

    @pytest.mark.parametrize("status", list(KINDS))
    def test_an_upstreams_refusal_arrives_as_it_is(self, ask: Ask, base_url: str, status: int) -> None:
        failure = failed(ask, base_url, f"fail {status}")
        assert (failure.kind, failure.status) == (KINDS[status], status)
        assert failure.body == chat.failure(status)["error"]
        assert failure.headers["retry-after"] == "1"
        assert failure.headers["x-request-id"] == f"req_failed_{status}"
        assert failure.headers["x-ratelimit-remaining-requests"] == "0"

    def test_an_error_in_the_answer_is_raised(self, ask: Ask, base_url: str) -> None:
        assert "scripted 500" in failed(ask, base_url, "count 20 and error mid-stream").message

    def test_a_cut_answer_is_raised(self, ask: Ask, base_url: str) -> None:
        failed(ask, base_url, "count 20 and break")

    @pytest.mark.parametrize("fault", ["fail 429", "count 20 and break", "count 20 and error mid-stream"])
    def test_a_fault_after_a_hidden_call_is_raised(self, ask: Ask, bridge: Bridge, fault: str) -> None:
        failure = failed(ask, bridge.base_url, f"{ADD} then {fault}")
        assert failure.headers.get("x-should-retry", "false") == "false"

    def test_usage_is_the_sum_of_all_rounds(
        self, ask: Ask, bridge: Bridge, model: Model, streams: bool
    ) -> None:
        options: Json = {"stream_options": {"include_usage": True}} if streams else {}
        answer = answered(ask, bridge.base_url, said(f"{ADD} then {ADD}"), **options)
        assert len(model.asked) == 3
        assert {key: (answer.usage or {})[key] for key in FIGURES} == sum_of(model)
        assert_seamless(answer)

    def test_usage_is_shown_in_a_stream_only_if_asked_for(
        self, ask: Ask, base_url: str, streams: bool
    ) -> None:
        answer = answered(ask, base_url, said("say Hello."))
        assert (answer.usage is None) == streams
