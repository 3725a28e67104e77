"""Where an upstream does not answer round 1, the next one does, and only the record says so."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from aibridge.errors import ConfigError
from tests.bridge.clock import Clock
from tests.support.bridged import Bridged, bridged, configuration
from tests.support.raw import (
    COMPLETION,
    DONE,
    STREAM_HEAD,
    RawUpstream,
    Talk,
    answer_plainly,
    ask,
    piece,
    raw_upstream,
    said,
    send,
    whole,
)
from tests.upstreams.scripted import (
    CALLS,
    Step,
    attempts_of,
    cut_before_the_first_byte,
    empty,
    hang_up,
    plainly,
    refusal,
    script,
)

KEY = "sk-of-the-first-upstream"
ERROR = b'data: {"error": {"message": "overloaded", "type": "server_error"}}\n\n'


@contextmanager
def two(
    folder: Path,
    *steps: Step,
    other: Step = plainly,
    clock: Clock | None = None,
    first: dict[str, Any] | None = None,
    second: dict[str, Any] | None = None,
    **parts: Any,
) -> Iterator[tuple[Bridged, RawUpstream, RawUpstream]]:
    """A bridge before `one`, which plays `steps` and falls back to `two`, which plays `other`."""
    with ExitStack() as stack:
        one = stack.enter_context(raw_upstream(script(*steps)))
        two = stack.enter_context(raw_upstream(script(other)))
        config = configuration(folder, one.base_url, **parts)
        mine = {"api_key": KEY, "retries": 0, "fallback": ["two"], **(first or {})}
        theirs = {"api_key": "sk-two", "retries": 0, **(second or {})}
        config["upstreams"] = {
            "one": {"base_url": one.base_url, **mine},
            "two": {"base_url": two.base_url, "aliases": {"m-1": "m-2"}, **theirs},
        }
        tools = {"time": clock.server} if clock else None
        yield stack.enter_context(bridged(folder, config, tools)), one, two


def _html(talk: Talk) -> None:
    talk.send(whole(b"<html>", headers=[("content-type", "text/html")]))


def _error_first(talk: Talk) -> None:
    talk.send(STREAM_HEAD, piece(ERROR), piece(b""))


def _silent(talk: Talk) -> None:
    talk.await_leaving()


FAILURES: list[tuple[Step, str]] = [
    (refusal(500), "500"),
    (refusal(429, retry_after="30"), "429"),
    (refusal(401), "401"),
    (hang_up, "closed"),
    (_silent, "first_byte_timeout"),
    (cut_before_the_first_byte, "broken"),
    (empty, "empty"),
]


@pytest.mark.parametrize(("step", "code"), FAILURES)
def test_the_next_upstream_answers_a_stream(tmp_path: Path, step: Step, code: str) -> None:
    with two(tmp_path, step, first={"first_byte_timeout": "150ms"}) as (bridge, one, other):
        got = ask(bridge.port, stream=True)
        row, told = bridge.ended(), bridge.rows("failed_attempts")
    assert got.status == 200 and b"Hel" in got.body and got.body.endswith(DONE)
    assert got.header("x-aibridge-upstream") == "two"
    assert (row["upstream"], row["status"], row["rounds"], row["attempts"]) == ("two", "completed", 1, 2)
    assert attempts_of(told) == [("one", code, False)]
    asked, again = one.heard[0].json, other.heard[0].json
    assert (asked["model"], again["model"]) == ("m-1", "m-2")
    assert {**asked, "model": ""} == {**again, "model": ""}
    assert other.heard[0].all("authorization") == ["Bearer sk-two"]


@pytest.mark.parametrize("step", [refusal(503), _html, empty, whole(b"")])
def test_the_next_upstream_answers_in_one_piece(tmp_path: Path, step: Step) -> None:
    with two(tmp_path, step) as (bridge, _, _other):
        got = ask(bridge.port)
        assert (got.status, got.body) == (200, COMPLETION)
        assert (got.header("x-aibridge-upstream"), bridge.ended()["upstream"]) == ("two", "two")


def test_a_stream_that_begins_with_an_error_is_left_for_the_next_upstream(tmp_path: Path) -> None:
    with two(tmp_path, _error_first) as (bridge, _, _other):
        got = ask(bridge.port, stream=True)
        assert b"overloaded" not in got.body and got.body.endswith(DONE)
        assert got.header("x-aibridge-upstream") == "two"


def test_without_another_upstream_an_error_event_is_the_clients(tmp_path: Path) -> None:
    with two(tmp_path, _error_first, first={"fallback": []}) as (bridge, _, _other):
        got = ask(bridge.port, stream=True)
        assert (got.status, got.body) == (200, ERROR)


def test_retries_come_before_the_next_upstream(tmp_path: Path) -> None:
    with two(tmp_path, refusal(500), first={"retries": 1}) as (bridge, one, other):
        assert ask(bridge.port).status == 200
        assert (len(one.heard), len(other.heard)) == (2, 1)
        assert bridge.ended()["attempts"] == 3


@pytest.mark.parametrize("status", [400, 404, 422])
def test_what_is_wrong_with_the_request_is_wrong_everywhere(tmp_path: Path, status: int) -> None:
    with two(tmp_path, refusal(status)) as (bridge, _, other):
        got = ask(bridge.port)
        assert (got.status, got.header("x-aibridge-upstream"), other.heard) == (status, "one", [])


def test_a_stream_that_breaks_after_its_first_byte_stays_broken(tmp_path: Path) -> None:
    def cut(talk: Talk) -> None:
        talk.send(STREAM_HEAD, piece(said("Hel", role="assistant")))
        talk.hang_up()

    with two(tmp_path, cut) as (bridge, _, other):
        assert b"upstream_invalid_response" in ask(bridge.port, stream=True).body
        assert other.heard == []


def test_after_tools_ran_no_other_upstream_is_asked(tmp_path: Path) -> None:
    clock = Clock()
    with two(tmp_path, CALLS, refusal(500, "down"), clock=clock) as (bridge, _, other):
        assert b"down" in ask(bridge.port, stream=True).body
        assert (clock.answered["now"], other.heard) == (1, [])


def test_injected_tools_are_the_same_at_the_next_upstream(tmp_path: Path) -> None:
    clock = Clock()
    with two(tmp_path, refusal(500), other=script(CALLS, plainly), clock=clock) as (bridge, one, other):
        got = ask(bridge.port, stream=True)
        assert got.body.endswith(DONE) and clock.answered["now"] == 1
        assert one.heard[0].json["tools"] == other.heard[0].json["tools"]
        assert bridge.ended()["rounds"] == 2


def test_where_nobody_answers_the_first_upstreams_refusal_is_told(tmp_path: Path) -> None:
    with two(tmp_path, refusal(429, "slow", retry_after="30"), other=hang_up) as (bridge, _, _other):
        got = ask(bridge.port)
        row, told = bridge.ended(), bridge.rows("failed_attempts")
    assert (got.status, got.error["message"], got.header("retry-after")) == (429, "slow", "30")
    assert got.header("x-aibridge-upstream") == row["upstream"] == "one"
    assert [(row["upstream"], row["code"]) for row in told] == [("one", "429"), ("two", "closed")]


def test_a_callers_own_credential_never_reaches_another_upstream(tmp_path: Path) -> None:
    mine = [("authorization", "Bearer sk-callers")]
    keyless = {"api_key": None}
    with two(tmp_path, refusal(500), first=keyless) as (bridge, _, other):
        assert ask(bridge.port, mine).status == 500
        assert other.heard == [], "a key of ours must not make up for the caller's"
        assert ask(bridge.port).status == 200, "without a credential there is none to keep"
    with two(tmp_path, refusal(500), second=keyless) as (bridge, _, other):
        assert ask(bridge.port, mine).status == 200
        assert b"sk-callers" not in json.dumps(other.heard[0].headers).encode()


def test_an_upstream_that_the_path_names_is_the_one_that_is_asked(tmp_path: Path) -> None:
    body = b'{"model": "m-1", "messages": []}'
    with two(tmp_path, refusal(500)) as (bridge, _, other):
        assert send(bridge.port, body, path="/one/v1/chat/completions").status == 500
        assert other.heard == []


def test_an_upstream_that_does_not_serve_the_model_is_passed_over(tmp_path: Path) -> None:
    with two(tmp_path, refusal(500), second={"models": ["x-*"], "aliases": {}}) as (bridge, _, other):
        assert (ask(bridge.port).status, other.heard) == (500, [])


@pytest.mark.parametrize("name", ["nobody", "one"])
def test_a_fallback_that_is_no_other_upstream_is_refused(tmp_path: Path, name: str) -> None:
    with (
        pytest.raises(ConfigError, match=f"upstreams.one.fallback names `{name}`"),
        two(tmp_path, answer_plainly, first={"fallback": [name]}),
    ):
        pass


def test_a_stream_whose_head_has_left_with_a_heartbeat_goes_on_at_the_next_upstream(tmp_path: Path) -> None:
    def silent(talk: Talk) -> None:
        talk.send(STREAM_HEAD)
        talk.await_leaving()

    first = {"idle_timeout": "400ms"}
    with two(tmp_path, silent, first=first, bridge={"heartbeat": "50ms"}) as (bridge, _, _other):
        got = ask(bridge.port, stream=True)
        row = bridge.ended()
    assert got.body.startswith(b": keep-alive\n\n") and got.body.count(b"Hel") == 1
    assert got.body.endswith(DONE)
    assert (row["upstream"], row["status"]) == ("two", "completed"), "the head could not say so any more"
