"""Random rounds of chat completions, as a stream and as one body: the client is told the same of both.

A round is what a model said; its stream is that in pieces, in an order that providers send, cut into random
chunks. openai-python's accumulator of response streams is the judge of the streamed answer.
"""

import json
import random
from dataclasses import dataclass, field
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

Json = dict[str, Any]
TRANSLATOR = TRANSLATORS[0]
PATCH: Json = {"type": "custom", "name": "patch", "description": "Edits."}
SHELL: Json = {"type": "function", "name": "shell", "parameters": {"type": "object", "properties": {}}}
SPACE: Json = {"type": "namespace", "name": "agents", "description": "others", "tools": [SHELL]}
ASKED: Json = {"model": "m", "input": "hi", "tools": [PATCH, SHELL, SPACE]}
NAMES = ("shell", "patch", "agents__shell", "not_offered")
TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
quick = settings(deadline=None, max_examples=30)


@dataclass(frozen=True)
class Call:
    """A call as the model makes it."""

    id: str
    name: str
    arguments: str

    def message(self) -> Json:
        return {
            "id": self.id,
            "type": "function",
            "function": {"name": self.name, "arguments": self.arguments},
        }


@dataclass(frozen=True)
class Round:
    """What the model said."""

    reasoning: str = ""
    text: str = ""
    refusal: str = ""
    calls: list[Call] = field(default_factory=list)
    finish: str = "stop"
    usage: Json | None = None

    def body(self) -> Json:
        """As one completion."""
        said: Json = {"role": "assistant", "content": self.text or None, "reasoning_content": self.reasoning}
        said["refusal"] = self.refusal or None
        said |= {"tool_calls": [call.message() for call in self.calls]} if self.calls else {}
        choice = {"index": 0, "message": said, "finish_reason": self.finish}
        return {**_head("chat.completion"), "choices": [choice], "usage": self.usage}


def _head(kind: str) -> Json:
    return {"id": "chatcmpl-1", "object": kind, "created": 1_700_000_000, "model": "m-1"}


def _arguments(name: str) -> st.SearchStrategy[str]:
    """Of a custom tool its one field, mostly; of others any object."""
    objects = st.dictionaries(TEXT, TEXT | st.integers(), max_size=2)
    told = st.fixed_dictionaries({"input": TEXT}) if name == "patch" else objects
    return (told | objects).map(lambda value: json.dumps(value, ensure_ascii=False))


@st.composite
def _calls(draw: st.DrawFn) -> list[Call]:
    names = draw(st.lists(st.sampled_from(NAMES), max_size=4))
    return [Call(f"call_{at}", name, draw(_arguments(name))) for at, name in enumerate(names)]


USAGE = st.builds(
    lambda asked, said, cached: {
        "prompt_tokens": asked + cached,
        "completion_tokens": said,
        "total_tokens": asked + cached + said,
        "prompt_tokens_details": {"cached_tokens": cached},
    },
    *[st.integers(0, 9999)] * 3,
)
ROUNDS = st.builds(
    Round,
    reasoning=TEXT,
    text=TEXT,
    refusal=st.just("") | TEXT,
    calls=_calls(),
    finish=st.sampled_from(("stop", "tool_calls", "length", "content_filter")),
    usage=st.none() | USAGE,
)


def _pieces(text: str, dice: random.Random) -> list[str]:
    """`text` in pieces of random length."""
    pieces = []
    while text:
        length = dice.randint(1, len(text))
        pieces.append(text[:length])
        text = text[length:]
    return pieces


def _of_call(at: int, call: Call, dice: random.Random) -> list[Json]:
    head = {"index": at, "id": call.id, "type": "function"}
    first, *rest = _pieces(call.arguments, dice)
    begun = dice.choice(("", first))  # all at once, or the name alone
    more = rest if begun else [first, *rest]
    deltas: list[Json] = [{**head, "function": {"name": call.name, "arguments": begun}}]
    return deltas + [{"index": at, "function": {"arguments": piece}} for piece in more]


def _merged(runs: list[list[Json]], dice: random.Random) -> list[Json]:
    """The runs one into another, each in its own order, the first ones begun first."""
    order = [at for at, run in enumerate(runs) for _ in run[1:]]
    dice.shuffle(order)
    left = [iter(run) for run in runs]
    return [next(run) for run in left] + [next(left[at]) for at in order]


def _deltas(said: Round, dice: random.Random, *, mixed: bool) -> list[Json]:
    kinds = {"reasoning_content": said.reasoning, "content": said.text, "refusal": said.refusal}
    spoken = [[{kind: piece} for piece in _pieces(text, dice)] for kind, text in kinds.items() if text]
    runs = [_of_call(at, call, dice) for at, call in enumerate(said.calls)]
    called = _merged(runs, dice) if dice.random() < 0.5 else [each for run in runs for each in run]
    words = _merged(spoken, dice) if mixed else [each for run in spoken for each in run]
    deltas = words + [{"tool_calls": [each]} for each in called]
    if mixed:
        deltas = _merged([each for each in (words, deltas[len(words) :]) if each], dice)
    return [{"role": "assistant", "content": ""}, *deltas]


def _stream(said: Round, dice: random.Random, *, mixed: bool = False) -> list[bytes]:
    """The events of the round's stream."""
    head = _head("chat.completion.chunk")
    chunks = [
        {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        for delta in _deltas(said, dice, mixed=mixed)
    ]
    if dice.random() < 0.5:
        chunks.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": said.finish}]})
    else:
        chunks[-1]["choices"][0]["finish_reason"] = said.finish
    if said.usage:
        chunks.append({**head, "choices": [], "usage": said.usage})
    return [f"data: {dumps(chunk)}\n\n".encode() for chunk in chunks] + [b"data: [DONE]\n\n"]


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
    live, heard = judge.reads(_translated(b"".join(_stream(said, dice)), dice))
    whole = _whole(said)
    assert _told(live["output"]) == _told(whole["output"])
    assert _around(live) == _around(whole)
    assert _accumulated(heard) == _expected(live["output"])
    assert [event.sequence_number for event in heard] == list(range(len(heard)))


@given(said=ROUNDS, seed=st.integers(0, 2**16))
@quick
def test_also_where_text_reasoning_and_calls_come_mixed(judge: Judge, said: Round, seed: int) -> None:
    dice = random.Random(seed)
    live, heard = judge.reads(_translated(b"".join(_stream(said, dice, mixed=True)), dice))
    whole = _whole(said)
    assert _said(live["output"]) == _said(whole["output"])
    assert _around(live) == _around(whole)
    assert _accumulated(heard) == _expected(live["output"])


@given(said=ROUNDS, seed=st.integers(0, 2**16))
@quick
def test_a_stream_that_is_cut_is_never_told_as_whole(said: Round, seed: int) -> None:
    dice = random.Random(seed)
    events = _stream(said, dice)
    stream = b"".join(events)[: dice.randint(0, sum(map(len, events)))]
    whole = b'"finish_reason":"' in stream.rpartition(b"\n\n")[0]
    try:
        shown = _translated(stream, dice)
    except InvalidAnswer:
        assert not whole
    else:
        assert whole
        last = json.loads(shown.rstrip().rpartition(b"data: ")[2])
        assert _told(last["response"]["output"]) == _told(_whole(said)["output"])
