"""Clients of the Responses API on an upstream that has chat completions alone, over sockets."""

import json
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.responses import Response as Answer
from starlette.responses import JSONResponse, Response, StreamingResponse

from tests.bridge.translated.asking import client
from tests.support.bridged import Bridged, bridged, configuration
from tests.support.chatting import Chatting, calling, chatting, chunk, saying, stream

Json = dict[str, Any]
SHELL = {"type": "function", "name": "shell", "parameters": {"type": "object", "properties": {}}}
PATCH = {"type": "custom", "name": "apply_patch", "description": "Edits files."}


def streamed(bridge: Bridged, **asked: Any) -> Answer:
    """The answer as the SDK's own accumulator puts it together."""
    with client(bridge).responses.stream(model="m-1", **asked) as events:
        for _ in events:
            pass
        return events.get_final_response()


def test_a_text_is_answered_alike_with_and_without_a_stream(bridge: Bridged, says: Chatting) -> None:
    whole = client(bridge).responses.create(model="m-1", input="hi", instructions="be brief")
    live = streamed(bridge, input="hi", instructions="be brief")

    assert whole.output_text == live.output_text == "Hello"
    assert whole.status == live.status == "completed"
    for answer in (whole, live):
        assert answer.usage is not None
        assert (answer.usage.input_tokens, answer.usage.output_tokens) == (10, 3)
    assert says.asked[0]["messages"] == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "hi"},
    ]
    assert says.asked[1]["stream_options"] == {"include_usage": True}


def test_headers_and_the_record_say_that_it_was_translated(bridge: Bridged, says: Chatting) -> None:
    raw = client(bridge).responses.with_raw_response.create(
        model="m-1", input="hi", tools=[{"type": "web_search"}]
    )

    assert raw.headers["x-aibridge-translated"] == "chat_completions"
    assert raw.headers["x-aibridge-left-out"] == "web_search"
    notes = bridge.ended()["notes"]
    assert "translated to chat_completions" in notes and "web_search" in notes


def test_an_injected_tool_runs_hidden(bridge: Bridged, says: Chatting) -> None:
    def script(body: Json) -> list[Json]:
        if body["messages"][-1]["role"] == "tool":
            return saying("It is ", body["messages"][-1]["content"])
        return calling(("c1", "clock__now", '{"city": "Oslo"}'))

    says.script = script
    answer = streamed(bridge, input="time?")

    assert answer.output_text == "It is noon in Oslo"
    assert [item.type for item in answer.output] == ["message"]
    assert not answer.tools
    assert says.asked[1]["messages"][: len(says.asked[0]["messages"])] == says.asked[0]["messages"]


def test_a_mixed_turn_gives_the_client_its_half_and_the_model_both(bridge: Bridged, says: Chatting) -> None:
    def script(body: Json) -> list[Json]:
        if body["messages"][-1]["role"] == "tool":
            return saying("done")
        return calling(("c1", "clock__now", '{"city": "Oslo"}'), ("c2", "shell", "{}"), text="both")

    says.script = script
    asked: list[Any] = [{"role": "user", "content": "do"}]
    first = streamed(bridge, input=asked, tools=[SHELL], store=False)
    assert [item.type for item in first.output] == ["message", "function_call"]

    asked += [item.to_dict() for item in first.output]
    asked.append({"type": "function_call_output", "call_id": "c2", "output": "ran"})
    last = streamed(bridge, input=asked, tools=[SHELL], store=False)

    assert last.output_text == "done"
    said = says.asked[-1]["messages"][-3:]
    assert [call["id"] for call in said[0]["tool_calls"]] == ["c1", "c2"]
    assert [(each["tool_call_id"], each["content"]) for each in said[1:]] == [
        ("c1", "noon in Oslo"),
        ("c2", "ran"),
    ]


def test_custom_tools_and_tools_in_namespaces_come_back_as_such(bridge: Bridged, says: Chatting) -> None:
    patch = json.dumps({"input": "*** Begin Patch\n+å\n"})
    says.script = lambda body: calling(("c1", "apply_patch", patch), ("c2", "agents__spawn", '{"n":1}'))
    inner = {**SHELL, "name": "spawn"}
    space = {"type": "namespace", "name": "agents", "description": "others", "tools": [inner]}
    answer = streamed(bridge, input="edit", tools=[PATCH, space], store=False)

    [custom, spaced] = answer.output
    assert custom.type == "custom_tool_call" and custom.input == "*** Begin Patch\n+å\n"
    assert spaced.type == "function_call" and (spaced.namespace, spaced.name) == ("agents", "spawn")

    says.script = lambda body: saying("ok")
    back: list[Any] = [{"role": "user", "content": "edit"}, *(item.to_dict() for item in answer.output)]
    back.append({"type": "custom_tool_call_output", "call_id": "c1", "output": "Done!"})
    back.append({"type": "function_call_output", "call_id": "c2", "output": "started"})
    streamed(bridge, input=back, tools=[PATCH, space], store=False)
    said = says.asked[-1]["messages"]
    assert [call["function"] for call in said[1]["tool_calls"]] == [
        {"name": "apply_patch", "arguments": '{"input":"*** Begin Patch\\n+å\\n"}'},
        {"name": "agents__spawn", "arguments": '{"n":1}'},
    ]
    assert [each["content"] for each in said[2:]] == ["Done!", "started"]


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_goes_back_in_the_field_that_it_came_in(
    bridge: Bridged, says: Chatting, field: str
) -> None:
    says.script = lambda body: [
        chunk({field: "I "}),
        chunk({field: "think"}),
        *calling(("c1", "shell", "{}")),
    ]
    asked: list[Any] = [{"role": "user", "content": "go"}]
    include: Any = ["reasoning.encrypted_content"]
    answer = streamed(
        bridge, input=asked, tools=[SHELL], store=False, include=include, reasoning={"summary": "auto"}
    )
    [thought, call] = answer.output
    assert thought.type == "reasoning" and thought.summary[0].text == "I think"

    kept: Json = {
        "type": "reasoning",
        "id": thought.id,
        "summary": [],
        "encrypted_content": thought.encrypted_content,
    }
    asked += [kept, call.to_dict(), {"type": "function_call_output", "call_id": "c1", "output": "ok"}]
    streamed(bridge, input=asked, tools=[SHELL], store=False, include=include)
    assert says.asked[-1]["messages"][1][field] == "I think"


def test_a_signature_on_a_call_goes_back_with_it(bridge: Bridged, says: Chatting) -> None:
    signature = {"google": {"thought_signature": "abc"}}
    function = {"name": "shell", "arguments": "{}"}
    call = {"index": 0, "id": "c1", "type": "function", "extra_content": signature, "function": function}
    says.script = lambda body: [chunk({"tool_calls": [call]}), chunk({}, "tool_calls")]
    asked: list[Any] = [{"role": "user", "content": "go"}]
    include: Any = ["reasoning.encrypted_content"]
    answer = streamed(bridge, input=asked, tools=[SHELL], store=False, include=include)

    asked += [item.to_dict() for item in answer.output]
    asked.append({"type": "function_call_output", "call_id": "c1", "output": "ok"})
    streamed(bridge, input=asked, tools=[SHELL], store=False, include=include)
    assert says.asked[-1]["messages"][1]["tool_calls"][0]["extra_content"] == signature


def test_an_answer_can_be_gone_on_from_and_its_items_referred_to(bridge: Bridged, says: Chatting) -> None:
    sdk = client(bridge)
    first = sdk.responses.create(model="m-1", input="one")
    second = sdk.responses.create(model="m-1", input="two", previous_response_id=first.id)
    assert [each["content"] for each in says.asked[-1]["messages"]] == ["one", "Hello", "two"]

    reference: Any = {"type": "item_reference", "id": second.output[-1].id}
    sdk.responses.create(model="m-1", input=[reference, {"role": "user", "content": "three"}])
    assert [each["content"] for each in says.asked[-1]["messages"]] == ["Hello", "three"]


def test_nobody_else_can_go_on_from_an_answer(bridge: Bridged, says: Chatting) -> None:
    first = client(bridge).responses.create(model="m-1", input="one")

    with pytest.raises(openai.BadRequestError, match="not found"):
        client(bridge, "two").responses.create(model="m-1", input="x", previous_response_id=first.id)
    reference: Any = {"type": "item_reference", "id": first.output[-1].id}
    with pytest.raises(openai.NotFoundError, match="not found"):
        client(bridge, "two").responses.create(model="m-1", input=[reference])


def test_what_is_not_to_be_stored_is_not_kept(bridge: Bridged, says: Chatting) -> None:
    first = client(bridge).responses.create(model="m-1", input="one", store=False)

    with pytest.raises(openai.BadRequestError, match="not found"):
        client(bridge).responses.create(model="m-1", input="x", previous_response_id=first.id)


@pytest.mark.parametrize(
    ("field", "asked"),
    [
        ("background", {"background": True}),
        ("conversation", {"conversation": "conv_1"}),
        ("prompt", {"prompt": {"id": "pmpt_1"}}),
        ("file_search", {"tools": [{"type": "file_search", "vector_store_ids": ["v"]}]}),
        ("web_search", {"tools": [{"type": "web_search"}], "tool_choice": {"type": "web_search"}}),
        ("computer_call_output", {"input": [{"type": "computer_call_output", "call_id": "c"}]}),
        ("include", {"include": ["of_tomorrow"]}),
    ],
)
def test_what_cannot_be_translated_is_refused_by_name(
    bridge: Bridged, says: Chatting, field: str, asked: Json
) -> None:
    with pytest.raises(openai.BadRequestError, match=field):
        client(bridge).responses.create(**{"model": "m-1", "input": "hi", **asked})
    assert says.asked == []


def test_an_error_keeps_status_and_retry_after_in_the_right_shape(bridge: Bridged, says: Chatting) -> None:
    says.script = lambda body: JSONResponse({"detail": "slow down"}, 429, {"retry-after": "7"})

    with pytest.raises(openai.RateLimitError, match="slow down") as caught:
        client(bridge).responses.create(model="m-1", input="hi")
    assert caught.value.response.headers["retry-after"] == "7"
    assert caught.value.response.headers["x-aibridge-translated"] == "chat_completions"


def test_a_hint_that_is_refused_is_left_out_from_then_on(tmp_path: Path) -> None:
    def script(body: Json) -> list[Json] | Response:
        if "prompt_cache_key" in body:
            return JSONResponse({"detail": [{"loc": ["body", "prompt_cache_key"]}]}, 422)
        return saying("fine")

    with chatting(script) as model:
        config = configuration(tmp_path, f"http://127.0.0.1:{model.port}/v1")
        config["upstreams"]["up"]["apis"] = ["chat_completions"]
        with bridged(tmp_path, config) as bridge:
            for _ in range(2):
                answer = client(bridge).responses.create(model="m-1", input="hi", prompt_cache_key="k")
                assert answer.output_text == "fine"
    assert ["prompt_cache_key" in body for body in model.asked] == [True, False, False]


def test_a_stream_that_breaks_off_fails(bridge: Bridged, says: Chatting) -> None:
    half = stream([chunk({"content": "half"})], done=False, usage=False)
    says.script = lambda body: StreamingResponse(iter([half]), media_type="text/event-stream")

    with client(bridge).responses.stream(model="m-1", input="hi") as events:
        kinds = [event.type for event in events]
    assert kinds[-1] == "response.failed" and "response.completed" not in kinds


@pytest.mark.parametrize(("reason", "why"), [("length", "max_output_tokens"), ("content_filter",) * 2])
def test_an_answer_that_was_cut_short_is_incomplete(
    bridge: Bridged, says: Chatting, reason: str, why: str
) -> None:
    says.script = lambda body: [chunk({"content": "half"}), chunk({}, reason)]

    *_, last = client(bridge).responses.create(model="m-1", input="hi", stream=True)
    assert last.type == "response.incomplete"
    assert last.response.incomplete_details is not None
    assert last.response.incomplete_details.reason == why


def test_ids_that_a_provider_gives_in_every_turn_are_made_different(bridge: Bridged, says: Chatting) -> None:
    says.script = lambda body: calling(("call_0", "shell", "{}"))
    asked: list[Any] = [{"role": "user", "content": "go"}]
    for turn in range(2):
        answer = streamed(bridge, input=asked, tools=[SHELL], store=False)
        [call] = answer.output
        assert call.type == "function_call"
        asked += [
            call.to_dict(),
            {"type": "function_call_output", "call_id": call.call_id, "output": str(turn)},
        ]
    ids = [each["tool_call_id"] for each in _outputs(says, bridge, asked)]
    assert len(set(ids)) == 2


def _outputs(says: Chatting, bridge: Bridged, asked: list[Any]) -> list[Json]:
    says.script = lambda body: saying("ok")
    streamed(bridge, input=asked, tools=[SHELL], store=False)
    return [each for each in says.asked[-1]["messages"] if each["role"] == "tool"]
