"""At a cap an exchange stops running tools, says so to the model and the record, and still answers."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from aibridge.bridge.limits import APOLOGY, Limits
from aibridge.bridge.memory import Memory
from tests.bridge.clock import Clock
from tests.bridge.saying import Said, Turn, replies, tool
from tests.bridge.stage import Seen, Upstream, assert_valid, staged
from tests.bridge.talking import answer_of

Json = dict[str, Any]
FORMS = pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
OWN = pytest.mark.parametrize("own", [True, False], ids=["client has tools", "client has none"])


def _now(number: int, *rest: str) -> Turn:
    names = ("time__now", *rest)
    return Turn(
        "", tuple(Said(f"call_{number}_{at}", name, f'{{"n": {number}}}') for at, name in enumerate(names))
    )


def _ask(limits: Limits, turns: Sequence[Turn], *, streamed: bool, own: bool = False) -> tuple[Seen, Clock]:
    clock = Clock()
    body: Json = {"model": "m-1", "messages": [{"role": "user", "content": "hi"}], "stream": streamed}
    if own:
        body["tools"] = [tool("read_file")]

    async def play() -> Seen:
        async with staged({"time": clock.server}, Memory(), limits) as stage:
            return await stage.ask(body, Upstream(replies(*turns, streamed=streamed)))

    seen = asyncio.run(play())
    assert_valid(seen.requests)
    assert seen.ending.status == "completed"
    return seen, clock


def _results(seen: Seen) -> list[str]:
    return [m["content"] for m in seen.requests[-1]["messages"] if m["role"] == "tool"]


def _assert_tools_off(seen: Seen, *, own: bool) -> None:
    """In the last round the model can call none of the injected tools."""
    *earlier, last = seen.requests
    assert all("tool_choice" not in request for request in earlier)
    if own:
        assert [each["function"]["name"] for each in last["tools"]] == ["read_file"]
        assert "tool_choice" not in last
    else:
        assert (last["tool_choice"], last["tools"]) == ("none", earlier[0]["tools"])


@FORMS
@OWN
def test_after_so_many_rounds_one_last_round_answers(streamed: bool, own: bool) -> None:
    seen, clock = _ask(Limits(max_rounds=2), [_now(1), _now(2), Turn("Noon.")], streamed=streamed, own=own)
    _assert_tools_off(seen, own=own)
    ran, refused = _results(seen)
    assert ran == "12:01"
    assert "limit of 2 rounds" in refused
    assert [call.status for call in seen.calls] == ["ok", "refused"]
    assert (seen.ending.notes, seen.ending.rounds) == ("max_rounds", 3)
    assert answer_of(seen)["content"] == "Noon."
    assert clock.answered["now"] == 1


@FORMS
@OWN
def test_calls_over_the_limit_are_refused_in_call_order(streamed: bool, own: bool) -> None:
    turns = [_now(1), _now(2, "time__now_utc", "time__now"), Turn("Noon.")]
    seen, clock = _ask(Limits(max_tool_calls=3), turns, streamed=streamed, own=own)
    _assert_tools_off(seen, own=own)
    *ran, refused = _results(seen)
    assert ran == ["12:01", "12:02", "10:02 UTC"]
    assert "limit of 3 tool calls" in refused
    assert seen.ending.notes == "max_tool_calls"
    assert clock.answered.total() == 3


@FORMS
def test_a_tool_that_hangs_is_cancelled_at_the_deadline_and_the_others_results_stay(streamed: bool) -> None:
    turns = [_now(1, "time__hangs"), Turn("Noon.")]
    seen, clock = _ask(Limits(deadline=0.2), turns, streamed=streamed)
    _assert_tools_off(seen, own=False)
    ran, refused = _results(seen)
    assert ran == "12:01"
    assert "limit of 0.2 seconds" in refused
    assert seen.ending.notes == "deadline"
    assert clock.cancelled["hangs"] == 1
    assert sorted(call.status for call in seen.calls) == ["cancelled", "ok"]


@FORMS
def test_after_the_deadline_no_tool_starts(streamed: bool) -> None:
    seen, clock = _ask(Limits(deadline=0), [_now(1), Turn("Noon.")], streamed=streamed)
    _assert_tools_off(seen, own=False)
    assert "limit of 0 seconds" in _results(seen)[0]
    assert (seen.ending.notes, clock.answered.total()) == ("deadline", 0)


@FORMS
@OWN
def test_the_third_of_equal_rounds_is_the_last_with_tools(streamed: bool, own: bool) -> None:
    seen, clock = _ask(Limits(), [_now(1), _now(1), _now(1), Turn("Noon.")], streamed=streamed, own=own)
    _assert_tools_off(seen, own=own)
    assert seen.ending.notes == "repetition"
    assert clock.answered["now"] == 3


@FORMS
def test_rounds_that_differ_in_a_call_are_no_repetition(streamed: bool) -> None:
    turns = [_now(1), _now(1), _now(2), _now(1), _now(1), Turn("Noon.")]
    seen, _ = _ask(Limits(), turns, streamed=streamed)
    assert seen.ending.notes is None
    assert "tool_choice" not in seen.requests[-1]


@FORMS
@OWN
def test_a_model_that_calls_even_in_its_last_round_is_answered_for(streamed: bool, own: bool) -> None:
    seen, clock = _ask(Limits(max_rounds=1), [_now(1), _now(2)], streamed=streamed, own=own)
    assert answer_of(seen) == {"role": "assistant", "content": APOLOGY}
    assert clock.answered.total() == 0
    assert b"time__" not in seen.body
    assert b'"stop"' in seen.body


@FORMS
def test_in_the_last_round_the_clients_calls_are_its_own(streamed: bool) -> None:
    own = Said("call_own", "read_file")
    last = Turn("", (Said("call_2", "time__now"), own))
    seen, _ = _ask(Limits(max_rounds=1), [_now(1), last], streamed=streamed, own=True)
    assert answer_of(seen)["tool_calls"] == [own.message]
    assert b"time__" not in seen.body


@FORMS
def test_a_cap_in_a_mixed_turn_is_recorded(streamed: bool) -> None:
    mixed = Turn("", (Said("call_1", "time__now"), Said("call_own", "read_file")))
    seen, _ = _ask(Limits(max_tool_calls=0), [mixed], streamed=streamed, own=True)
    assert seen.ending.notes == "max_tool_calls"
    assert {call.status for call in seen.calls} == {"relayed", "refused"}
