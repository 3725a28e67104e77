"""Random rounds of chat completions, as a stream and as one body: the client is told the same of both.

A round is what a model said; its stream is that in pieces, in an order that providers send, cut into random
chunks. openai-python's accumulator of response streams is the judge of the streamed answer.
"""

import json
import random
from typing import Any

import httpx2
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aibridge.dialects.base import InvalidAnswer
from aibridge.dialects.translating import TRANSLATORS
from aibridge.dialects.translating.base import Translation
from aibridge.wire.json_text import dumps
from tests.dialects.translating.rounds import ROUNDS, Round, stream_of
from tests.support.examples import examples

Json = dict[str, Any]
TRANSLATOR = TRANSLATORS[0]
PATCH: Json = {"type": "custom", "name": "patch", "description": "Edits."}
SHELL: Json = {"type": "function", "name": "shell", "parameters": {"type": "object", "properties": {}}}
SPACE: Json = {"type": "namespace", "name": "agents", "description": "others", "tools": [SHELL]}
ASKED: Json = {"model": "m", "input": "hi", "tools": [PATCH, SHELL, SPACE]}
quick = settings(deadline=None, max_examples=examples(20))


def _translation(*, streamed: bool) -> Translation:
    value = {**ASKED, "stream": streamed}
    return TRANSLATOR.answer(value, TRANSLATOR.request(value, [], "all"))


def _translated(stream: bytes, dice: random.Random) -> bytes:
    """The client's bytes for the stream in random chunks. Raises InvalidAnswer."""
    translation, shown = _translation(streamed=True), b""
    while stream:
        length = dice.randint(1, 300)
        shown += translation.take(stream[:length])
        stream = stream[length:]
    return shown + translation.finish()


def _whole(said: Round) -> Json:
    translation = _translation(streamed=False)
    translation.take(dumps(said.body()).encode())
    final: Json = json.loads(translation.finish())
    return final


class Judge:
    """openai-python, given one stream after the other."""

    def __init__(self) -> None:
        self._stream = b""
        transport = httpx2.MockTransport(
            lambda _: httpx2.Response(
                200, headers={"content-type": "text/event-stream"}, content=self._stream
            )
        )
        http = httpx2.Client(transport=transport, trust_env=False)
        self.sdk = openai.OpenAI(base_url="http://bridge/v1", api_key="x", http_client=http)

    def reads(self, stream: bytes) -> tuple[Json, list[Any]]:
        """The response at the end, and the events with what its accumulator had put together by then.

        Raises where the stream is not sound.
        """
        self._stream = stream
        with self.sdk.responses.stream(model="m", input="hi") as events:
            heard: list[Any] = list(events)
            # Of an incomplete response it has no final one.
            whole = heard[-1].type == "response.completed"
            final = events.get_final_response() if whole else heard[-1].response
            return final.model_dump(exclude_unset=True), heard


@pytest.fixture(scope="module")
def judge() -> Any:
    judge = Judge()
    yield judge
    judge.sdk.close()


def _told(items: list[Json]) -> list[Json]:
    """Items without their ids, which are made anew each time, and what the SDK adds to them."""
    left_out = {"id", "parsed", "parsed_arguments", "encrypted_content"}
    return [_without(item, left_out) for item in items]


def _without(value: Any, left_out: set[str]) -> Any:
    if isinstance(value, dict):
        return {key: _without(item, left_out) for key, item in value.items() if key not in left_out}
    return [_without(item, left_out) for item in value] if isinstance(value, list) else value


def _said(items: list[Json]) -> Json:
    """What was said, in whichever items: texts joined, calls in order."""
    parts = [part for item in items for part in item.get("content") or ()]
    texts = {
        kind: "".join(part.get("text", part.get("refusal")) for part in parts if part["type"] == kind)
        for kind in ("output_text", "refusal", "reasoning_text")
    }
    calls = [
        tuple(item.get(key) for key in ("type", "call_id", "namespace", "name", "arguments", "input"))
        for item in items
        if item["type"].endswith("_call")
    ]
    return {**texts, "calls": sorted(calls)}


def _around(response: Json) -> Json:
    return {key: value for key, value in response.items() if key not in ("id", "output")}


def _accumulated(heard: list[Any]) -> dict[tuple[int, int], str]:
    """What the SDK had put together from deltas at the last one, by item and part."""
    snapshots: dict[tuple[int, int], str] = {}
    for event in heard:
        if event.type in ("response.output_text.delta", "response.function_call_arguments.delta"):
            snapshots[event.output_index, getattr(event, "content_index", 0)] = event.snapshot
    return snapshots


def _expected(output: list[Json]) -> dict[tuple[int, int], str]:
    texts = {
        (at, place): part["text"]
        for at, item in enumerate(output)
        if item["type"] == "message"
        for place, part in enumerate(item["content"])
        if part["type"] == "output_text"
    }
    calls = {(at, 0): item["arguments"] for at, item in enumerate(output) if item["type"] == "function_call"}
    return texts | calls


@given(said=ROUNDS, seed=st.integers(0, 2**16))
@quick
def test_a_stream_and_a_body_are_told_alike(judge: Judge, said: Round, seed: int) -> None:
    dice = random.Random(seed)
    live, heard = judge.reads(_translated(b"".join(stream_of(said, dice)), dice))
    whole = _whole(said)
    assert _told(live["output"]) == _told(whole["output"])
    assert _around(live) == _around(whole)
    assert _accumulated(heard) == _expected(live["output"])
    assert [event.sequence_number for event in heard] == list(range(len(heard)))


@given(said=ROUNDS, seed=st.integers(0, 2**16))
@quick
def test_also_where_text_reasoning_and_calls_come_mixed(judge: Judge, said: Round, seed: int) -> None:
    dice = random.Random(seed)
    live, heard = judge.reads(_translated(b"".join(stream_of(said, dice, mixed=True)), dice))
    whole = _whole(said)
    assert _said(live["output"]) == _said(whole["output"])
    assert _around(live) == _around(whole)
    assert _accumulated(heard) == _expected(live["output"])


@given(said=ROUNDS, seed=st.integers(0, 2**16))
@quick
def test_a_stream_that_is_cut_is_never_told_as_whole(said: Round, seed: int) -> None:
    dice = random.Random(seed)
    events = stream_of(said, dice)
    stream = b"".join(events)[: dice.randint(0, sum(map(len, events)))]
    # Without its blank line the last event counts too: some providers forget that.
    whole = any(b'"finish_reason":"' in each and each.rstrip(b"\n") in stream for each in events)
    try:
        shown = _translated(stream, dice)
    except InvalidAnswer:
        assert not whole
    else:
        assert whole
        last = json.loads(shown.rstrip().rpartition(b"data: ")[2])
        assert _told(last["response"]["output"]) == _told(_whole(said)["output"])
