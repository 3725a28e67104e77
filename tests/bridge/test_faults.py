"""Faults in the middle of an exchange end it once, and leave nothing behind.

The same over real sockets: tests/web/test_disconnects.py and test_sockets.py.
"""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from aibridge.bridge.limits import Limits
from aibridge.bridge.memory import Memory, Remembering
from aibridge.wire.sse import LONGEST_EVENT
from tests.bridge.clock import FAILED, Clock
from tests.bridge.saying import DONE, Said, Turn, chunk, event, events, replies, reply, tool
from tests.bridge.scripts import ERROR, REFUSAL
from tests.bridge.stage import JSON, Reply, Seen, Stage, Upstream, assert_valid, events_of, staged
from tests.bridge.talking import answer_of

Json = dict[str, Any]
CALL = Said("call_inj", "time__now", '{"n": 1}')
HIDDEN = Turn("Let me see.", (CALL,))
MIXED = Turn("", (CALL, Said("call_own", "read_file")))
TOLD = events(HIDDEN)
CALLED = next(at for at, each in enumerate(TOLD) if b"time__now" in each)
FORMS = pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
IN_ROUND = pytest.mark.parametrize("earlier", [0, 1], ids=["round 1", "round 2"])


def _body(*, streamed: bool = True) -> Json:
    messages = [{"role": "user", "content": "hi"}]
    return {"model": "m-1", "messages": messages, "stream": streamed, "tools": [tool("read_file")]}


def _ask(answers: Sequence[Reply], *, streamed: bool = True, clock: Clock | None = None) -> Seen:
    async def play() -> Seen:
        async with staged({"time": (clock or Clock()).server}, Memory(), Limits()) as stage:
            return await stage.ask(_body(streamed=streamed), Upstream(answers))

    seen = asyncio.run(play())
    assert_valid(seen.requests)
    assert b"time__" not in seen.body
    return seen


def _before(earlier: int, *, streamed: bool = True) -> list[Reply]:
    """So many whole hidden rounds."""
    return replies(*[HIDDEN] * earlier, streamed=streamed)


def _assert_error_event(seen: Seen, code: str) -> Json:
    assert (seen.status, seen.ending.status, seen.ending.error_code) == (200, "failed", code)
    *_, last = events_of(seen.body)
    assert DONE.strip() not in seen.body
    error: Json = json.loads(last.removeprefix(b"data: "))["error"]
    return error


def _assert_refused(seen: Seen, status: int, code: str, *, ran: bool) -> None:
    assert (seen.status, seen.ending.status, seen.ending.http_status) == (status, "failed", status)
    assert seen.json["error"]["code"] == code
    assert seen.headers.get("x-should-retry") == ("false" if ran else None)


@IN_ROUND
@pytest.mark.parametrize("broken", [True, False], ids=["cut", "ended"])
@pytest.mark.parametrize("after", [CALLED, CALLED + 1, len(TOLD) - 3], ids=["before", "inside", "after"])
def test_a_stream_that_breaks_around_a_call_ends_in_an_error_and_runs_nothing(
    after: int, broken: bool, earlier: int
) -> None:
    clock = Clock()
    seen = _ask([*_before(earlier), Reply(TOLD[:after], cut=broken)], clock=clock)
    error = _assert_error_event(seen, "upstream_invalid_response")
    assert error["code"] == "upstream_invalid_response"
    assert clock.answered["now"] == earlier
    assert [fact.usage.source for fact in seen.rounds] == ["provider"] * earlier + ["estimated"]


@FORMS
@IN_ROUND
def test_an_empty_answer_is_an_error(earlier: int, streamed: bool) -> None:
    media = "text/event-stream" if streamed else JSON
    seen = _ask([*_before(earlier, streamed=streamed), Reply([], media=media)], streamed=streamed)
    if streamed and earlier:
        _assert_error_event(seen, "upstream_invalid_response")
    else:
        _assert_refused(seen, 502, "upstream_invalid_response", ran=bool(earlier))


@FORMS
@IN_ROUND
@pytest.mark.parametrize("labelled", [True, False])
def test_json_where_a_stream_was_asked_and_the_reverse_are_errors(
    labelled: bool, earlier: int, streamed: bool
) -> None:
    other = reply(Turn("Noon."), streamed=not streamed)
    media = other.media if labelled else ("text/event-stream" if streamed else JSON)
    answer = Reply(other.pieces, media=media)
    seen = _ask([*_before(earlier, streamed=streamed), answer], streamed=streamed)
    if streamed and earlier:
        _assert_error_event(seen, "upstream_invalid_response")
    else:
        _assert_refused(seen, 502, "upstream_invalid_response", ran=bool(earlier))


@IN_ROUND
@pytest.mark.parametrize("after", range(len(TOLD) - 1))
def test_an_error_event_reaches_the_client_as_it_is_and_ends_the_exchange(after: int, earlier: int) -> None:
    clock = Clock()
    seen = _ask([*_before(earlier), Reply([*TOLD[:after], ERROR, *TOLD[after:]])], clock=clock)
    _assert_error_event(seen, "upstream_error")
    assert seen.body.endswith(ERROR)
    assert clock.answered["now"] == earlier


def test_an_error_event_reaches_a_client_that_waits_for_json() -> None:
    async def play() -> Seen:
        async with staged({"time": Clock().server}) as stage:
            body = {**_body(), "response_format": {"type": "json_object"}}
            return await stage.ask(body, Upstream([Reply([*TOLD[: CALLED + 1], ERROR])]))

    seen = asyncio.run(play())
    _assert_error_event(seen, "upstream_error")
    assert seen.body.endswith(ERROR)


@FORMS
def test_a_refusal_after_tools_ran_asks_for_no_retry(streamed: bool) -> None:
    refused = Reply([REFUSAL], media=JSON, status=429, headers={"x-should-retry": "true"})
    seen = _ask([*_before(1, streamed=streamed), refused], streamed=streamed)
    if streamed:
        assert _assert_error_event(seen, "upstream_429") == json.loads(REFUSAL)["error"]
    else:
        _assert_refused(seen, 429, "rate_limit", ran=True)


def test_a_refusal_that_is_no_json_is_told_in_our_words_once_the_stream_has_begun() -> None:
    refused = Reply([b"<html>Bad gateway</html>"], media="text/html", status=502)
    error = _assert_error_event(_ask([*_before(1), refused]), "upstream_502")
    assert error["message"] == "upstream 'upstream' answered 502"


@IN_ROUND
def test_an_answer_without_choices_is_an_error(earlier: int) -> None:
    seen = _ask([*_before(earlier, streamed=False), Reply([b'{"id": "c"}'], media=JSON)], streamed=False)
    _assert_refused(seen, 502, "upstream_invalid_response", ran=bool(earlier))


@IN_ROUND
def test_an_event_without_an_end_is_an_error(earlier: int) -> None:
    seen = _ask([*_before(earlier), Reply([b"data: " + b"x" * (LONGEST_EVENT + 1)])])
    if earlier:
        _assert_error_event(seen, "upstream_invalid_response")
    else:
        _assert_refused(seen, 502, "upstream_invalid_response", ran=False)


def test_a_round_that_is_cut_after_its_usage_has_the_upstreams_figures() -> None:
    seen = _ask([Reply([event(1, choices=[], usage={"prompt_tokens": 7, "completion_tokens": 1})], cut=True)])
    [told] = seen.rounds
    assert (told.usage.source, told.usage.input, told.usage.output) == ("provider", 7, 1)


class _Broken(Remembering):
    """A bug in the middle of an exchange."""

    async def put(
        self, key: bytes, content: bytes, *, newest_wins: bool, caller: str = "", user: str | None = None
    ) -> None:
        raise RuntimeError("secret")


def test_a_bug_of_ours_is_an_error_too_and_says_no_more() -> None:
    async def play() -> Seen:
        async with staged({"time": Clock().server}, _Broken(Memory())) as stage:
            return await stage.ask(_body(), Upstream(replies(HIDDEN, Turn("Noon."))))

    seen = asyncio.run(play())
    _assert_error_event(seen, "internal_error")
    assert b"secret" not in seen.body


@pytest.mark.parametrize("length", [1, 4, 5, 6, 40, -2])
def test_a_stream_that_ends_inside_its_usage_gives_no_torn_event(length: int) -> None:
    *told, usage, _ = events(Turn("Noon."))
    seen = _ask([Reply([*told, usage[:length]])])
    assert seen.ending.status == "completed"
    assert answer_of(seen)["content"] == "Noon."
    assert len(events_of(seen.body)) == len(told) + 1


@pytest.mark.parametrize("reason", ["length", "content_filter"])
@pytest.mark.parametrize("arguments", ["", '{"n": '])
@FORMS
def test_a_call_that_the_model_could_not_finish_is_dropped(
    reason: str, arguments: str, streamed: bool
) -> None:
    clock = Clock()
    turn = Turn("Let me see.", (Said("call_inj", "time__now", arguments),), finish=reason)
    seen = _ask(replies(turn, streamed=streamed), streamed=streamed, clock=clock)
    assert answer_of(seen) == {"role": "assistant", "content": "Let me see."}
    assert seen.body.count(f'"{reason}"'.encode()) == 1
    assert clock.answered["now"] == 0


OUTCOMES = {
    "time__fails": ("error", FAILED),
    "time__nothing": ("error", "There is no tool named"),
    "time__long": ("ok", "xxx"),
    "time__face": ("ok", "image/png"),
}


@FORMS
@pytest.mark.parametrize("name", OUTCOMES)
@pytest.mark.parametrize("mixed", [True, False])
def test_whatever_a_tool_does_the_model_gets_one_result(mixed: bool, name: str, streamed: bool) -> None:
    status, text = OUTCOMES[name]
    own = (Said("call_own", "read_file"),) if mixed else ()
    turns = [Turn("", (Said("call_1", name), *own))] + [Turn("So.")] * (not mixed)
    seen = _ask(replies(*turns, streamed=streamed), streamed=streamed)
    [call] = [call for call in seen.calls if call.injected]
    assert call.status == status
    assert text in (call.result or "")
    assert len(call.result or "") < 101_000
    if not mixed:
        assert seen.requests[1]["messages"][-1]["content"] == call.result
    assert seen.ending.status == "completed"


def _hanging(where: str) -> list[Reply]:
    """Answers during which nothing more happens, so that the client loses its patience."""
    hang = {"a tool hangs": Turn("", (Said("call_1", "time__hangs"), CALL))}
    hang["a tool hangs in a mixed turn"] = Turn("", (*hang["a tool hangs"].calls, *MIXED.calls[1:]))
    if where in hang:
        return replies(hang[where])
    silent = {
        "before the first byte": Reply([], hangs=True),
        "before a call": Reply(TOLD[:CALLED], hangs=True),
        "inside a call": Reply(TOLD[: CALLED + 1], hangs=True),
        "inside an event": Reply([TOLD[0][:30]], hangs=True),
    }
    first, _, later = where.partition(", ")
    return [*_before(1 if later else 0), silent[first]]


@pytest.mark.parametrize(
    "where",
    [
        "before the first byte",
        "before a call",
        "inside a call",
        "inside an event",
        "before the first byte, later",
        "inside a call, later",
        "a tool hangs",
        "a tool hangs in a mixed turn",
    ],
)
def test_a_client_that_leaves_ends_everything(where: str) -> None:
    clock, upstream = Clock(), Upstream(_hanging(where))
    waiting = clock.hanging if "tool" in where else upstream.silent

    async def play(stage: Stage) -> Seen:
        return await stage.ask(_body(), upstream, leaves_when=waiting)

    async def on_stage() -> Seen:
        async with staged({"time": clock.server}, Memory()) as stage:
            return await play(stage)

    seen = asyncio.run(on_stage())
    assert (seen.ending.status, seen.whole) == ("cancelled", False)
    assert clock.cancelled["hangs"] == ("tool" in where)
    assert len(seen.rounds) == (2 if where.endswith("later") else 1)
    assert [call.status for call in seen.calls if call.name == "time__hangs"] == ["cancelled"] * (
        "tool" in where
    )


@pytest.mark.parametrize("before", [0, 1])
def test_a_torn_chunk_in_the_middle_is_the_upstreams_own(before: int) -> None:
    seen = _ask([Reply([*TOLD[:before], b"data: {torn\n\n", chunk(1, {"content": "Noon."}, "stop"), DONE])])
    assert b"data: {torn\n\n" in seen.body
    assert seen.ending.status == "completed"
