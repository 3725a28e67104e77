"""Random rounds of chat completions: what a model said, as one body and as a stream in pieces."""

import json
import random
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from aibridge.wire.json_text import dumps

Json = dict[str, Any]
NAMES = ("shell", "patch", "agents__shell", "not_offered")
TEXT = st.text(st.characters(codec="utf-8"), max_size=12)


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


def stream_of(said: Round, dice: random.Random, *, mixed: bool = False) -> list[bytes]:
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
