"""What an upstream refuses of what aibridge adds is left out, and remembered where that helped."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.bridge.clock import Clock
from tests.bridge.saying import Said, Turn, completion, events
from tests.support.bridged import Bridged
from tests.support.raw import (
    JSON_TYPE,
    STREAM_HEAD,
    RawUpstream,
    Talk,
    answer_plainly,
    ask,
    piece,
    send,
    whole,
)
from tests.upstreams.scripted import bridged_before, refusal

NOW = Said("call_now", "time__now", '{"n": 1}')


@contextmanager
def picky(folder: Path, objection: Callable[[Any], str | None], *turns: Turn) -> Iterator[
    tuple[Bridged, RawUpstream, Clock]
]:  # fmt: skip
    """A bridge before an upstream that objects to some requests, and else says `turns`, then hello."""
    clock, said = Clock(), list(turns)

    def answer(talk: Talk) -> None:
        if sentence := objection(talk.heard.json):
            talk.send(refusal(400, sentence))
        elif not said:
            answer_plainly(talk)
        elif talk.heard.json.get("stream"):
            talk.send(STREAM_HEAD, piece(b"".join(events(said.pop(0)))), piece(b""))
        else:
            talk.send(whole(completion(said.pop(0))))

    with bridged_before(folder, answer, {"time": clock.server}) as both:
        yield *both, clock


def quirks(bridge: Bridged) -> list[str]:
    """As `/readyz` tells them."""
    told: list[str] = send(bridge.port, method="GET", path="/readyz").json["upstreams"]["up"]["quirks"]
    return told


def test_the_question_for_usage_is_learned_once(tmp_path: Path) -> None:
    def objection(body: Any) -> str | None:
        return "Unknown parameter: 'stream_options'" if "stream_options" in body else None

    with picky(tmp_path, objection) as (bridge, upstream, _):
        for _ in range(2):
            assert ask(bridge.port, stream=True).status == 200
        assert ["stream_options" in heard.json for heard in upstream.heard] == [True, False, False]
        assert quirks(bridge) == ["stream_options"]
        first, second = (row["notes"] for row in bridge.rows())
        assert (first, second) == ("left out: stream_options", None)
        got = ask(bridge.port, stream=True, stream_options={"include_usage": True})
        assert got.status == 400, "what the client asks for itself is its own"


@pytest.mark.parametrize(
    "sentence",
    ["Invalid schema for function 'time__face'", "Invalid 'tools[1].function.parameters'", "tools.1.x: bad"],
)
def test_an_injected_tool_that_is_named_or_counted_is_learned_once(tmp_path: Path, sentence: str) -> None:
    own = {"type": "function", "function": {"name": "mine", "parameters": {"type": "object"}}}

    def names(body: Any) -> list[str]:
        return [tool["function"]["name"] for tool in body["tools"]]

    def objection(body: Any) -> str | None:
        return sentence if "time__face" in names(body) else None

    with picky(tmp_path, objection, Turn("", (NOW,))) as (bridge, upstream, clock):
        assert ask(bridge.port, tools=[own]).status == 200
        assert clock.answered["now"] == 1, "the others work"
        assert ask(bridge.port, tools=[own]).status == 200
        asked = [names(heard.json) for heard in upstream.heard]
        assert "time__face" in asked[0] and len(upstream.heard) == 4
        assert asked[1:] == [[name for name in asked[0] if name != "time__face"]] * 3
        assert quirks(bridge) == ["tool time__face"]


def test_a_field_that_went_back_is_learned_and_the_tools_run_once(tmp_path: Path) -> None:
    def objection(body: Any) -> str | None:
        fields = {key for message in body["messages"] for key in message}
        return "property 'reasoning_content' is unsupported" if "reasoning_content" in fields else None

    extra = (("reasoning_content", "Hm."), ("signature", "s"))
    turns = [Turn("", (NOW,), extra=extra), Turn("Noon.")] * 2
    with picky(tmp_path, objection, *turns) as (bridge, upstream, clock):
        for _ in range(2):
            assert ask(bridge.port, messages=[{"role": "user", "content": "time?"}]).status == 200
        assert clock.answered["now"] == 2
        assert len(upstream.heard) == 5, "refused once"
        for heard in upstream.heard[2::2]:
            [said] = [message for message in heard.json["messages"] if message["role"] == "assistant"]
            assert "reasoning_content" not in said and said["signature"] == "s"
        assert quirks(bridge) == ["field reasoning_content"]


def test_units_of_before_go_back_without_the_field(tmp_path: Path) -> None:
    strict: list[bool] = []

    def objection(body: Any) -> str | None:
        fields = {key for message in body["messages"] for key in message}
        refused = strict and "reasoning_content" in fields
        return "property 'reasoning_content' is unsupported" if refused else None

    extra = (("reasoning_content", "Hm."),)
    turns = [Turn("", (NOW,), extra=extra), Turn("Noon."), Turn("", (NOW,), extra=extra), Turn("One.")]
    question = {"role": "user", "content": "time?"}
    with picky(tmp_path, objection, *turns) as (bridge, upstream, _):
        ask(bridge.port, messages=[question])
        strict.append(True)
        ask(bridge.port, messages=[{"role": "user", "content": "another"}])
        upstream.heard.clear()
        said = [question, {"role": "assistant", "content": "Noon."}, {"role": "user", "content": "sure?"}]
        assert ask(bridge.port, messages=said).status == 200
        [heard] = upstream.heard
        assert [message["role"] for message in heard.json["messages"]] == [
            "user", "assistant", "tool", "assistant", "user",
        ]  # fmt: skip
        assert bridge.ended()["recalled_turns"] == 1


def test_what_does_not_help_is_not_learned(tmp_path: Path) -> None:
    with picky(tmp_path, lambda body: "messages[1]: time__now was never called") as (bridge, upstream, _):
        got = ask(bridge.port)
        assert (got.status, len(upstream.heard)) == (400, 2)
        assert quirks(bridge) == []
        upstream.answer = answer_plainly
        ask(bridge.port)
        assert "time__now" in json.dumps(upstream.heard[-1].json["tools"])


def test_a_refusal_that_names_nothing_of_ours_is_the_clients(tmp_path: Path) -> None:
    with picky(tmp_path, lambda body: "max_tokens is too large; see time__nowhere") as (bridge, upstream, _):
        assert ask(bridge.port, [JSON_TYPE]).status == 400
        assert len(upstream.heard) == 1
