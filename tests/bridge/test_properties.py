"""Whatever an upstream says and however it breaks, an exchange keeps its promises to both ends."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from hypothesis import HealthCheck, given, settings

from aibridge.bridge.memory import Memory
from aibridge.facts import AttemptFailed, Fact
from tests.bridge.accepting import OpenAIPython, Understood, openai_node
from tests.bridge.clock import Clock
from tests.bridge.scripts import CLIENTS, FAULTY, LEFT, SOUND, Script, clients, injected
from tests.bridge.stage import Seen, Stage, assert_valid, events_of, staged
from tests.support.examples import examples

Json = dict[str, Any]
VARIES = {"id", "exchange_id", "started_at", "ended_at", "duration_ms", "failed_at"}
quick = settings(deadline=None, report_multiple_bugs=False, suppress_health_check=[HealthCheck.too_slow])


class Theatre:
    """A stage that stays open from one example to the next, in a loop of its own."""

    def __init__(self, runner: asyncio.Runner, stage: Stage) -> None:
        self._runner, self._stage = runner, stage

    def play(self, script: Script, *, whole: bool = False) -> Seen:
        """One exchange."""
        upstream = script.upstream(whole=whole)
        asking = self._stage.ask(script.request, upstream, leaves_after=script.leaves_after)
        return self._runner.run(asking)


@pytest.fixture(scope="module")
def theatre() -> Iterator[Theatre]:
    with asyncio.Runner() as runner:
        opening = staged({"time": Clock().server}, Memory())
        stage = runner.run(opening.__aenter__())
        yield Theatre(runner, stage)
        runner.run(opening.__aexit__(None, None, None))


@pytest.fixture(scope="module")
def sdk() -> OpenAIPython:
    return OpenAIPython()


@given(script=SOUND)
@settings(quick, max_examples=examples(100))
def test_a_sound_exchange_shows_the_clients_part_and_tells_the_rest(
    theatre: Theatre, sdk: OpenAIPython, script: Script
) -> None:
    seen = theatre.play(script)
    assert (seen.status, seen.ending.status) == (200, "completed")
    _assert_hidden(seen)
    _assert_upstream_was_asked_well(seen, script)
    _assert_told(seen, script)
    assert sdk.accumulates(seen, script.request) == _expected(script)
    if script.streamed:
        assert sdk.iterates(seen, script.request) == script.text
        _assert_ends_once(seen)


@given(script=FAULTY)
@settings(quick, max_examples=examples(160))
def test_a_faulty_exchange_ends_once_and_never_quietly(
    theatre: Theatre, sdk: OpenAIPython, script: Script
) -> None:
    seen = theatre.play(script)
    _assert_hidden(seen)
    assert_valid(seen.requests)
    if seen.ending.status == "completed":
        assert sdk.accumulates(seen, script.request).text == script.text
    elif script.streamed or seen.status != 200:
        assert (seen.ending.status, bool(seen.ending.error_code)) == ("failed", True)
        with pytest.raises(openai.APIError):
            sdk.accumulates(seen, script.request)
    if script.streamed and seen.status == 200:
        _assert_ends_once(seen)
    if len(seen.asked) > 1 and seen.status >= 400:
        assert seen.headers["x-should-retry"] == "false", "tools have run"


@given(script=LEFT)
@settings(quick, max_examples=examples(70))
def test_a_client_may_leave_at_any_moment(theatre: Theatre, script: Script) -> None:
    seen = theatre.play(script)
    _assert_hidden(seen)
    assert_valid(seen.requests)
    assert len(seen.rounds) <= len(script.turns)
    for call in seen.calls:
        assert call.injected == (call.name not in CLIENTS)


@given(script=SOUND | FAULTY)
@settings(quick, max_examples=examples(70))
def test_however_the_bytes_arrive_the_outcome_is_the_same(theatre: Theatre, script: Script) -> None:
    chopped, whole = theatre.play(script), theatre.play(script, whole=True)
    assert chopped.body == whole.body
    assert chopped.status == whole.status
    assert chopped.asked == whole.asked
    assert _facts(chopped) == _facts(whole)


def test_openai_node_understands_the_same(theatre: Theatre, tmp_path: Path) -> None:
    scripts: list[Script] = []

    @given(script=SOUND | FAULTY)
    @settings(quick, max_examples=examples(70))
    def collect(script: Script) -> None:
        scripts.append(script)

    collect()  # one process of node for all of them
    seen = [theatre.play(script) for script in scripts]
    cases = [(each, script.request) for each, script in zip(seen, scripts, strict=True)]
    for each, script, outcome in zip(seen, scripts, openai_node(cases, tmp_path), strict=True):
        if each.ending.status == "failed":
            assert not script.streamed or outcome.get("failed"), (script, outcome)
            continue
        assert "failed" not in outcome, (script, outcome)
        understood = Understood.of(outcome["completion"])
        assert (understood.text, understood.calls) == (_expected(script).text, _expected(script).calls)
        assert outcome.get("text", script.text) == script.text


def _expected(script: Script) -> Understood:
    calls = [(call.id, call.name, call.arguments) for call in clients(script.turns[-1])]
    shown = script.usage_asked or not script.streamed
    used = (sum(turn.usage[0] for turn in script.turns), sum(turn.usage[1] for turn in script.turns))
    return Understood(script.text, calls, "tool_calls" if calls else "stop", used if shown else None)


def _assert_hidden(seen: Seen) -> None:
    for secret in (b"time__", b"call_inj"):
        assert secret not in seen.body


def _assert_ends_once(seen: Seen) -> None:
    """`[DONE]` after at most one finish reason, or one error event, and nothing after it."""
    told = events_of(seen.body)
    errors = [event for event in told if b'"error"' in event]
    done = [event for event in told if event == b"data: [DONE]"]
    assert len(errors) + len(done) == 1
    assert told[-1] in (*errors, *done)
    chunks = [json.loads(event.removeprefix(b"data: ")) for event in told if event not in done]
    choices = [choice for chunk in chunks for choice in chunk.get("choices", ())]
    assert sum(choice["finish_reason"] is not None for choice in choices) <= 1
    assert sum("role" in choice["delta"] for choice in choices) <= 1
    assert len({chunk["id"] for chunk in chunks if "id" in chunk}) <= 1


def _assert_upstream_was_asked_well(seen: Seen, script: Script) -> None:
    assert_valid(seen.requests)
    assert len(seen.requests) == len(script.turns)
    asked = seen.requests[-1]["messages"][1:]
    for turn in script.turns[:-1]:
        said, *answers = asked[: 1 + len(turn.calls)]
        ids = [call.id for call in turn.calls]
        assert [call["id"] for call in said["tool_calls"]] == ids
        assert [answer["tool_call_id"] for answer in answers] == ids
        assert (said.get("content") or "") == turn.text
        assert said.get("reasoning_content") == dict(turn.extra).get("reasoning_content")
        asked = asked[1 + len(turn.calls) :]
    assert not asked


def _assert_told(seen: Seen, script: Script) -> None:
    used = [(fact.usage.input, fact.usage.output) for fact in seen.rounds]
    assert used == [turn.usage for turn in script.turns]
    told = sorted((fact.round, fact.call_id, fact.injected) for fact in seen.calls)
    assert told == sorted(
        (number, call.id, call in injected(turn))
        for number, turn in enumerate(script.turns, 1)
        for call in turn.calls
    )


def _facts(seen: Seen) -> list[Json]:
    return [_comparable(fact) for fact in seen.facts]


def _comparable(fact: Fact) -> Json:
    told = {name: getattr(fact, name) for name in fact.__struct_fields__}
    if isinstance(fact, AttemptFailed):
        told |= {"failure": fact.failure.code}
    return {key: value for key, value in told.items() if key not in VARIES and not key.endswith("_ms")}
