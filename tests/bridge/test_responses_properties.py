"""Whatever items a model says over the rounds of a response, the SDK's own state machine accepts the stream.

The model's items are random: texts, reasoning, injected calls, the client's, built-in ones; so is how the
bytes arrive, when heartbeats come, and whether calls are shown.
"""

import json
import random
from typing import Any

import httpx2
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aibridge.dialects.base import Manner, View
from aibridge.dialects.responses import Responses
from aibridge.errors import BridgeError, Kind
from aibridge.nouns import Result, Tool
from aibridge.wire.json_text import dumps
from tests.support.examples import examples

Json = dict[str, Any]
TOOL = Tool("time__now", "time", "now", "", {})
SHELL: Json = {"type": "function", "name": "shell", "parameters": {}, "strict": False}
KINDS = ("message", "reasoning", "ours", "clients", "custom_tool_call", "web_search_call")
ROUNDS = st.lists(st.lists(st.sampled_from(KINDS), max_size=4), min_size=1, max_size=4)
quick = settings(deadline=None, max_examples=examples(60))


def _item(kind: str, mark: str) -> Json:
    match kind:
        case "message":
            part = {"type": "output_text", "annotations": [], "text": f"é {mark}"}
            rest: Json = {"status": "completed", "role": "assistant", "content": [part]}
        case "reasoning":
            rest = {"summary": [{"type": "summary_text", "text": f"hm {mark}"}]}
        case "custom_tool_call":
            rest = {"call_id": f"call_{mark}", "name": "patch", "input": "x"}
        case "web_search_call":
            rest = {"status": "completed", "action": {"type": "search", "query": "q"}}
        case _:
            name = "time__now" if kind == "ours" else "shell"
            rest = {"call_id": f"call_{mark}", "name": name, "arguments": '{"a":1}', "status": "completed"}
            kind = "function_call"
    return {"id": f"id_{mark}", "type": kind, **rest}


def _events(number: int, items: list[Json]) -> list[bytes]:
    response: Json = {"id": f"resp_{number}", "object": "response", "created_at": number, "model": "m"}
    response |= {"output": [], "parallel_tool_calls": True, "tool_choice": "auto", "tools": [SHELL]}
    told: list[Json] = [{"type": "response.created", "response": {**response, "status": "in_progress"}}]
    for at, item in enumerate(items):
        told.append({"type": "response.output_item.added", "output_index": at, "item": _begun(item)})
        told += [{**each, "output_index": at, "item_id": item["id"]} for each in _pieces(item)]
        told.append({"type": "response.output_item.done", "output_index": at, "item": item})
    usage: Json = {"input_tokens": 10, "output_tokens": 2, "total_tokens": 12}
    usage |= {"input_tokens_details": {"cached_tokens": 1}, "output_tokens_details": {"reasoning_tokens": 1}}
    last = {**response, "status": "completed", "output": items, "usage": usage}
    told.append({"type": "response.completed", "response": last})
    numbered = ({**each, "sequence_number": at} for at, each in enumerate(told))
    return [f"event: {each['type']}\ndata: {dumps(each)}\n\n".encode() for each in numbered]


def _begun(item: Json) -> Json:
    empty: Json = {
        key: type(item[key])() for key in ("content", "summary", "arguments", "input") if key in item
    }
    return {**item, **empty}


def _pieces(item: Json) -> list[Json]:
    if item["type"] == "message":
        part = item["content"][0]
        at = {"content_index": 0}
        return [
            {"type": "response.content_part.added", **at, "part": {**part, "text": ""}},
            {"type": "response.output_text.delta", **at, "delta": part["text"], "logprobs": []},
            {"type": "response.output_text.done", **at, "text": part["text"], "logprobs": []},
            {"type": "response.content_part.done", **at, "part": part},
        ]
    if item["type"] == "function_call":
        return [
            {"type": "response.function_call_arguments.delta", "delta": item["arguments"]},
            {
                "type": "response.function_call_arguments.done",
                "arguments": item["arguments"],
                "name": item["name"],
            },
        ]
    return []


def _play(view: View, rounds: list[list[Json]], dice: random.Random) -> bytes:
    """The engine's part: rounds until one has no injected call, or has the client's as well."""
    given: list[bytes] = []
    for number, items in enumerate(rounds, 1):
        last = "Sorry." if number == len(rounds) else None
        current = view.open_round(last=last)
        stream = b"".join(_events(number, items))
        while stream:
            length = dice.randint(1, 400)
            given.append(current.take(stream[:length]))
            stream = stream[length:]
            if dice.random() < 0.1:
                given.append(view.keep_alive())
        turn, rest = current.finish()
        given.append(rest)
        if not turn.injected_calls:
            break
        given.append(view.keep_alive())
        results = [Result(call.id, "12:30", "ok", 0, 0) for call in turn.injected_calls]
        given.append(view.results(turn, results))
        if turn.client_calls:
            break
    return b"".join([*given, view.close()])


def _judged(stream: bytes) -> Json:
    """What openai-python's accumulator makes of the stream; it raises where the stream is not sound."""
    transport = httpx2.MockTransport(
        lambda _: httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=stream)
    )
    with httpx2.Client(transport=transport) as http:
        client = openai.OpenAI(base_url="http://bridge/v1", api_key="x", http_client=http)
        with client.responses.stream(model="m", input="hi") as answer:
            for _ in answer:
                pass
            return answer.get_final_response().model_dump()


@given(rounds=ROUNDS, seed=st.integers(0, 2**16), shown=st.booleans())
@quick
def test_the_sdk_accepts_every_stream(rounds: list[list[str]], seed: int, shown: bool) -> None:
    said = [[_item(kind, f"{r}{at}") for at, kind in enumerate(kinds)] for r, kinds in enumerate(rounds)]
    request = Responses().read(
        json.dumps({"model": "m", "input": "hi", "stream": True, "tools": [SHELL]}).encode()
    )
    view = request.with_tools([TOOL]).view([TOOL], Manner(calls="shown" if shown else "hidden"))
    stream = _play(view, said, random.Random(seed))
    told = [json.loads(line[6:]) for line in stream.decode().splitlines() if line.startswith("data: ")]
    assert [each["sequence_number"] for each in told] == list(range(len(told)))
    kinds = [each["type"] for each in told]
    assert kinds[0] == "response.created"
    assert kinds.count("response.created") == kinds.count("response.completed") == 1
    assert kinds[-1] == "response.completed"
    assert {each["response"]["id"] for each in told if "response" in each} == {"resp_1"}
    added = [each["output_index"] for each in told if each["type"] == "response.output_item.added"]
    assert added == list(range(len(added))), "counted on, without a gap"
    assert b"time__now" not in stream
    final = _judged(stream)
    assert [item["id"] for item in final["output"]] == [
        each["item"]["id"] for each in told if each["type"] == "response.output_item.added"
    ]
    assert final["usage"]["total_tokens"] % 12 == 0


@given(kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=4), seed=st.integers(0, 2**16))
@quick
def test_a_stream_that_is_cut_ends_once_in_a_failure(kinds: list[str], seed: int) -> None:
    dice = random.Random(seed)
    request = Responses().read(json.dumps({"model": "m", "input": "hi", "stream": True}).encode())
    view = request.with_tools([TOOL]).view([TOOL], Manner(calls=dice.choice(("hidden", "shown"))))
    events = _events(1, [_item(kind, str(at)) for at, kind in enumerate(kinds)])[:-1]
    shown = view.open_round().take(b"".join(events[: dice.randint(1, len(events))]))
    failed = view.failure(BridgeError(Kind.UPSTREAM_UNREACHABLE, "it broke"))
    lines = (shown + failed).decode().splitlines()
    told = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    assert [each["sequence_number"] for each in told] == list(range(len(told)))
    ends = [each["type"] for each in told if each["type"] in ("response.completed", "response.failed")]
    assert ends == ["response.failed"]
    assert told[-1]["response"]["id"] == "resp_1"
    assert told[-1]["response"]["error"]["message"] == "it broke"
    assert view.keep_alive() == view.close() == b""
    with pytest.raises(RuntimeError, match="completed"):
        _judged(shown + failed)
