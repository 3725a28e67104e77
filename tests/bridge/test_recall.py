"""Hidden turns come back with the conversation that they belong to, and with no other."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aibridge.bridge.memory import Memory
from aibridge.bridge.recall import Kept
from aibridge.dialects.base import Unit
from tests.bridge.clock import Clock
from tests.bridge.saying import Said, Turn, reply
from tests.bridge.stage import JSON, Reply, Stage, Upstream, assert_valid, staged
from tests.bridge.talking import STYLES, Talk, assert_grows
from tests.support.examples import examples

Json = dict[str, Any]
Conversation = Callable[[Stage], Awaitable[None]]
REFUSAL = b'{"error": {"message": "no", "type": "invalid_request_error", "param": null, "code": null}}'


@asynccontextmanager
async def _stage() -> AsyncIterator[Stage]:
    async with staged({"time": Clock().server}, Memory()) as stage:
        yield stage


def _on_stage(conversation: Conversation) -> None:
    async def play() -> None:
        async with _stage() as stage:
            await conversation(stage)

    asyncio.run(play())


def _now(number: int, at: int = 0) -> Said:
    return Said(f"call_inj_{number}_{at}", "time__now", f'{{"n": {number}}}')


def _read(number: int, at: int = 0) -> Said:
    return Said(f"call_own_{number}_{at}", "read_file", '{ "path" : "é" }')


def _hidden(number: int, text: str = "Let me see. ") -> Turn:
    return Turn(text, (_now(number),), extra=(("reasoning_content", "Hm."),))


KINDS: dict[str, Callable[[int], tuple[Turn, ...]]] = {
    "plain": lambda n: (Turn(f"Answer {n}.\n"),),
    "hidden": lambda n: (_hidden(n), Turn(f" Answer {n}.")),
    "hidden twice": lambda n: (_hidden(n, ""), _hidden(n + 50), Turn(f"Answer {n}.")),
    "hidden, nothing said": lambda n: (_hidden(n, " \n"), Turn("")),
    "client's": lambda n: (Turn("I read. ", (_read(n), _read(n, 1))),),
    "mixed": lambda n: (Turn("I do both.", (_now(n), _read(n), _now(n, 1), _read(n, 1))),),
    "mixed, nothing said": lambda n: (Turn("", (_read(n), _now(n))),),
    "hidden, then client's": lambda n: (_hidden(n), Turn("I read.", (_read(n),))),
    "hidden, then mixed": lambda n: (_hidden(n), Turn("", (_now(n + 50), _read(n)))),
}


@given(
    kinds=st.lists(st.sampled_from(sorted(KINDS)), min_size=10, max_size=10),
    style=st.sampled_from(sorted(STYLES)),
    streamed=st.booleans(),
)
@settings(max_examples=examples(20), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_over_ten_turns_each_request_begins_with_the_one_before(
    kinds: list[str], style: str, streamed: bool
) -> None:
    async def conversation(stage: Stage) -> None:
        talk, asked, hidden = Talk(stage, style, streamed=streamed), list[bytes](), 0
        for number, kind in enumerate(kinds, 1):
            turns = KINDS[kind](number)
            seen = await talk.hears(*turns, user=f"Question {number}")
            asked += seen.asked
            assert seen.ending.recalled_turns == hidden, kinds
            hidden += len(turns) - 1 + kind.startswith("mixed") + kind.endswith("then mixed")
        assert_valid([json.loads(body) for body in asked])
        assert_grows(asked)

    _on_stage(conversation)


async def _ids(talk: Talk, **how: Any) -> list[str]:
    """The calls that the upstream is told of when the conversation goes on."""
    if talk.messages[-1]["role"] == "assistant":
        talk.messages.append({"role": "user", "content": "And now?"})
    seen = await talk.asks(Upstream([reply(Turn("So."))]), **how)
    assert_valid(seen.requests)
    [request] = seen.requests
    return [call["id"] for message in request["messages"] for call in message.get("tool_calls", ())]


BEFORE: Json = {"body": {}, "headers": {"authorization": "Bearer one"}}
OTHERS: dict[str, Json] = {
    "caller": {"headers": {"authorization": "Bearer two"}},
    "end user": {"body": {"user": "eve"}},
    "session": {"headers": {**BEFORE["headers"], "x-session-id": "2"}},
    "prompt cache key": {"body": {"prompt_cache_key": "2"}},
}


@pytest.mark.parametrize("other", OTHERS)
def test_hidden_turns_never_reach_another(other: str) -> None:
    async def conversation(stage: Stage) -> None:
        talk = Talk(stage, **BEFORE)
        await talk.hears(_hidden(1), Turn("It is noon."))
        stranger = Talk(stage, **{**BEFORE, **OTHERS[other]}, messages=list(talk.messages))
        assert await _ids(stranger) == []
        assert await _ids(talk) == ["call_inj_1_0"]

    _on_stage(conversation)


def test_a_client_that_drops_old_messages_gets_back_what_its_window_still_tells() -> None:
    async def conversation(stage: Stage) -> None:
        talk = Talk(stage)
        for number in range(1, 7):
            await talk.hears(_hidden(number), Turn(f"Answer {number}."), user=f"Question {number}")
        del talk.messages[:2]
        found = await _ids(talk)
        assert found[-2:] == ["call_inj_5_0", "call_inj_6_0"]
        assert "call_inj_1_0" not in found

    _on_stage(conversation)


@pytest.mark.parametrize(
    ("model", "upstream", "kept"),
    [("m-1", "upstream", True), ("m-2", "upstream", False), ("m-1", "u", False)],
)
def test_another_model_or_upstream_gets_the_standard_fields_alone(
    model: str, upstream: str, kept: bool
) -> None:
    async def conversation(stage: Stage) -> None:
        talk = Talk(stage)
        signed = (("reasoning_content", "Hm."),)
        await talk.hears(_hidden(1), Turn("", (_now(2), _read(2)), extra=signed))
        talk.body = {"model": model}
        seen = await talk.asks(Upstream([reply(Turn("So."))]), named=upstream)
        assert seen.ending.recalled_turns == 2
        assert seen.asked[0].count(b'"reasoning_content":"Hm."') == (2 if kept else 0)
        assert_valid(seen.requests)

    _on_stage(conversation)


def test_a_unit_whose_tool_is_not_injected_any_more_stays_out() -> None:
    async def conversation(stage: Stage) -> None:
        talk = Talk(stage)
        await talk.hears(_hidden(1), Turn("It is noon."))
        talk.headers = {"x-aibridge-tools": "time__now_utc"}
        assert await _ids(talk) == []
        talk.headers = {"x-aibridge-tools": "off"}
        assert await _ids(talk) == []
        talk.headers = {}
        assert await _ids(talk) == ["call_inj_1_0"]

    _on_stage(conversation)


def test_over_the_limit_the_oldest_units_stay_out() -> None:
    async def conversation(stage: Stage) -> None:
        talk = Talk(stage.beside(Memory(), recall_limit=700))
        for number in range(1, 6):
            await talk.hears(_hidden(number), Turn(f"Answer {number}."), user=f"Question {number}")
        found = await _ids(talk)
        assert 0 < len(found) < 5
        assert found == [f"call_inj_{number}_0" for number in range(6 - len(found), 6)]

    _on_stage(conversation)


@pytest.mark.parametrize("how", ["header", "configuration"])
def test_with_recall_off_nothing_comes_back_and_a_mixed_turn_runs_nothing(how: str) -> None:
    async def conversation(stage: Stage) -> None:
        talk = Talk(stage if how == "header" else stage.beside(None))
        talk.headers = {"x-aibridge-recall": "off"} if how == "header" else {}
        await talk.hears(_hidden(1), Turn("It is noon."))
        seen = await talk.hears(Turn("", (_now(2), _read(2))), user="And a file?")
        assert [call.status for call in seen.calls] == ["relayed", "refused"]
        assert await _ids(talk) == ["call_own_2_0"]

    _on_stage(conversation)


@pytest.mark.parametrize(
    ("body", "found"), [({"user": "ann"}, ["call_inj_2_0"]), ({}, [])], ids=["named", "anonymous"]
)
def test_the_same_answer_with_two_pasts_has_the_newest_where_it_is_named_else_none(
    body: Json, found: list[str]
) -> None:
    async def conversation(stage: Stage) -> None:
        first, second = Talk(stage, body=body), Talk(stage, body=body)
        await first.hears(_hidden(1), Turn("It is noon."))
        await second.hears(_hidden(2), Turn("It is noon."))
        assert first.messages == second.messages
        assert await _ids(first) == found

    _on_stage(conversation)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_an_upstream_that_refuses_is_asked_once_more_without(status: int) -> None:
    async def conversation(stage: Stage) -> None:
        talk = Talk(stage)
        await talk.hears(_hidden(1), Turn("It is noon."))
        talk.messages.append({"role": "user", "content": "And now?"})
        no = Reply([REFUSAL], media=JSON, status=status)
        seen = await talk.asks(Upstream([no, reply(Turn("So."))]))
        assert [len(request["messages"]) for request in seen.requests] == [5, 3]
        assert (seen.ending.status, seen.ending.attempts) == ("completed", 2)
        assert (seen.ending.notes, seen.ending.recalled_turns) == ("recall_refused", 0)
        seen = await talk.asks(Upstream([no, no]))
        assert (seen.status, seen.body, len(seen.asked)) == (status, REFUSAL, 2)

    _on_stage(conversation)


@pytest.mark.parametrize("status", [401, 429, 500])
def test_another_refusal_is_no_reason_to_ask_without(status: int) -> None:
    async def conversation(stage: Stage) -> None:
        talk = Talk(stage)
        await talk.hears(_hidden(1), Turn("It is noon."))
        talk.messages.append({"role": "user", "content": "And now?"})
        seen = await talk.asks(Upstream([Reply([REFUSAL], media=JSON, status=status)]))
        assert (seen.status, len(seen.asked)) == (status, 1)

    _on_stage(conversation)


def test_a_call_that_the_client_never_answered_leaves_its_history_alone() -> None:
    async def conversation(stage: Stage) -> None:
        talk = Talk(stage)
        await talk.hears(Turn("", (_now(1), _read(1))))
        del talk.messages[-1]
        talk.messages.append({"role": "user", "content": "Never mind."})
        seen = await talk.asks(Upstream([reply(Turn("So."))]))
        assert seen.requests[0]["messages"] == talk.messages
        assert seen.ending.recalled_turns == 0

    _on_stage(conversation)


def test_a_mixed_turn_whose_hidden_half_is_forgotten_is_valid_by_itself() -> None:
    async def conversation(stage: Stage) -> None:
        talk = Talk(stage)
        await talk.hears(_hidden(1), Turn("Both.", (_now(2), _read(2))))
        forgetful = Talk(stage.beside(Memory()), messages=talk.messages)
        assert await _ids(forgetful) == ["call_own_2_0"]

    _on_stage(conversation)


def test_after_a_cap_with_no_word_the_hidden_turns_come_back_with_our_sentence() -> None:
    async def conversation(stage: Stage) -> None:
        for streamed in (True, False):
            talk = Talk(stage, streamed=streamed, body={"user": str(streamed)})
            same = Turn("", (Said("call_inj_1_0", "time__now"),))
            seen = await talk.hears(same, same, same, Turn(""))
            assert seen.ending.notes == "repetition"
            assert talk.messages[-1]["content"].startswith("I could not finish")
            assert await _ids(talk) == ["call_inj_1_0"] * 3

    _on_stage(conversation)


def test_a_mixed_turn_with_a_custom_tool_of_the_clients_is_put_back() -> None:
    custom: Json = {"id": "call_own_1", "type": "custom", "custom": {"name": "patch", "input": "+1"}}
    call = {"index": 1, **_now(1).message}
    first = {**custom, "index": 0, "custom": {"name": "patch", "input": ""}}
    deltas: list[Json] = [
        {"role": "assistant", "tool_calls": [first, call]},
        {"tool_calls": [{"index": 0, "custom": {"input": "+1"}}]},
    ]

    async def conversation(stage: Stage) -> None:
        talk = Talk(stage, body={"tools": [{"type": "custom", "custom": {"name": "patch"}}]})
        talk.messages = [{"role": "user", "content": "Patch it."}]
        seen = await talk.asks(Upstream([_streamed(*deltas)]))
        assert ("patch", "+1") in [(call.name, call.arguments) for call in seen.calls]
        talk.messages.append({"role": "assistant", "content": None, "tool_calls": [custom]})
        talk.messages.append({"role": "tool", "tool_call_id": "call_own_1", "content": "patched"})
        assert await _ids(talk) == ["call_own_1", "call_inj_1_0"]

    _on_stage(conversation)


def _streamed(*deltas: Json) -> Reply:
    choices: list[Json] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": "tool_calls"})
    chunks = [{"id": "c-1", "model": "m-1", "choices": [choice]} for choice in choices]
    events = [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks]
    return Reply([*events, b"data: [DONE]\n\n"])


def test_what_is_kept_is_read_again_as_it_was_also_with_half_a_surrogate() -> None:
    for text in ("plain", "h\u00e4lf: \ud83d"):
        unit = Unit(
            hidden=(text, "{}"), texts=("", text), separator="\n\n", tools=("a__b",), results=(("id", text),)
        )
        kept = Kept(unit, "upstream", "model")
        assert Kept.loads(kept.dumps()) == kept
