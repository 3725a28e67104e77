"""A model that keeps failing gets a pause, then one request to see; told in `/readyz`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from aibridge.upstreams.breaker import ENOUGH, LONGEST_PAUSE, WINDOW, Breaker, Breakers
from tests.support.bridged import Bridged, bridged, configuration
from tests.support.raw import RawUpstream, ask, connection, raw_upstream, request, send
from tests.support.waiting import eventually
from tests.upstreams.scripted import bridged_before, hang_up, plainly, refusal


class Time:
    """Seconds, as a test wants them."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def breakers(time: Time) -> Breakers:
    return Breakers("up", 5.0, time)


def _fail(breakers: Breakers, times: int = ENOUGH, model: str = "m") -> None:
    for _ in range(times):
        breakers.failed(model, "answered 500")


def _of(breakers: Breakers, model: str = "m") -> Breaker:
    breaker = breakers.of(model)
    assert breaker is not None
    return breaker


def test_it_opens_after_enough_failures_and_for_that_model_alone(breakers: Breakers) -> None:
    _fail(breakers, ENOUGH - 1)
    assert _of(breakers).state == "closed" and not _of(breakers).admit()
    _fail(breakers, 1)
    assert (_of(breakers).state, _of(breakers).admit()) == ("open", 5.0)
    assert breakers.of("other") is None


def test_few_failures_among_many_answers_do_not_open_it(breakers: Breakers) -> None:
    _fail(breakers, 1)
    for _ in range(20):
        breakers.passed("m")
    _fail(breakers, ENOUGH)
    assert _of(breakers).state == "closed"


def test_failures_of_long_ago_do_not_count(breakers: Breakers, time: Time) -> None:
    _fail(breakers, ENOUGH - 1)
    time.now += WINDOW + 1
    _fail(breakers, ENOUGH - 1)
    assert _of(breakers).state == "closed"
    time.now += WINDOW + 1
    breakers.passed("m")
    assert breakers.of("m") is None, "nothing is left to remember"


def test_after_the_pause_one_request_passes_and_decides(breakers: Breakers, time: Time) -> None:
    _fail(breakers)
    time.now += 5
    assert _of(breakers).state == "half-open"
    assert not _of(breakers).admit()
    assert _of(breakers).admit() > 0, "one at a time"
    breakers.failed("m", "answered 500")
    assert (_of(breakers).state, _of(breakers).admit()) == ("open", 10.0)
    time.now += 10
    assert not _of(breakers).admit()
    breakers.passed("m")
    assert breakers.of("m") is None


def test_the_pause_has_an_end_however_often_it_fails(breakers: Breakers, time: Time) -> None:
    _fail(breakers)
    for _ in range(50):
        time.now += LONGEST_PAUSE
        assert not _of(breakers).admit()
        breakers.failed("m", "answered 500")
    assert _of(breakers).admit() == LONGEST_PAUSE


def test_a_probe_that_says_nothing_lets_the_next_one_through(breakers: Breakers, time: Time) -> None:
    _fail(breakers)
    time.now += 5
    assert not _of(breakers).admit()
    breakers.undecided("m")
    assert not _of(breakers).admit(), "the client left"
    time.now += 5
    assert not _of(breakers).admit(), "it took too long"


def test_switched_off_it_never_opens() -> None:
    breakers = Breakers("up", None)
    _fail(breakers, 100)
    assert breakers.of("m") is None


def test_names_that_callers_invent_do_not_fill_the_memory(breakers: Breakers) -> None:
    for number in range(1100):
        _fail(breakers, 1, f"m-{number}")
    assert len(breakers.told()) <= 1000


@contextmanager
def failing(folder: Path, **keys: Any) -> Iterator[tuple[Bridged, RawUpstream]]:
    """A bridge before an upstream that is down; no retries."""
    with bridged_before(folder, hang_up, retries=0, **keys) as both:
        yield both


def test_requests_are_answered_503_without_asking_until_it_works_again(tmp_path: Path) -> None:
    with failing(tmp_path, breaker="200ms") as (bridge, upstream):
        for _ in range(ENOUGH):
            assert ask(bridge.port).status == 502
        got = ask(bridge.port)
        assert (got.status, got.error["code"], got.header("retry-after")) == (503, "overloaded", "1")
        assert "'up'" in got.error["message"] and "closed the connection" in got.error["message"]
        assert len(upstream.heard) == ENOUGH
        row = bridge.ended()
        assert (row["attempts"], row["http_status"], row["status"]) == (0, 503, "failed")
        assert bridge.rows("failed_attempts")[-1]["code"] == "breaker_open"
        upstream.answer = plainly
        assert ask(bridge.port, model="m-2").status == 200, "another model is asked"
        eventually(lambda: ask(bridge.port).status == 200, what="the answer after the pause")
        up = send(bridge.port, method="GET", path="/readyz").json["upstreams"]["up"]
        assert up["breakers"] == {}


def test_readyz_tells_of_the_pause(tmp_path: Path) -> None:
    with failing(tmp_path) as (bridge, upstream):
        upstream.answer = lambda talk: talk.send(refusal(500))
        for _ in range(ENOUGH):
            ask(bridge.port)
        told = send(bridge.port, method="GET", path="/readyz").json
        breaker = told["upstreams"]["up"]["breakers"]["m-1"]
        assert (breaker["state"], breaker["reason"]) == ("open", "answered 500")
        assert told["status"] == "degraded" and told["upstreams"]["up"]["state"] == "failing"
        assert told["upstreams"]["up"]["failures"] == {"500": ENOUGH}


@pytest.mark.parametrize("status", [400, 401, 404, 429])
def test_refusals_below_500_do_not_open_it(tmp_path: Path, status: int) -> None:
    with failing(tmp_path) as (bridge, upstream):
        upstream.answer = lambda talk: talk.send(refusal(status))
        assert {ask(bridge.port).status for _ in range(ENOUGH + 2)} == {status}


def test_what_is_passed_through_is_held_back_too(tmp_path: Path) -> None:
    with failing(tmp_path) as (bridge, _):
        for _ in range(ENOUGH):
            assert send(bridge.port, method="GET", path="/v1/files").status == 502
        assert send(bridge.port, method="GET", path="/v1/files/f-1").status == 503
        assert send(bridge.port, method="GET", path="/v1/batches").status == 502


def test_a_pause_is_filled_by_the_fallback(tmp_path: Path) -> None:
    with raw_upstream(hang_up) as one, raw_upstream(plainly) as two:
        config = configuration(tmp_path, one.base_url)
        config["upstreams"] = {
            "one": {"base_url": one.base_url, "api_key": "sk-1", "retries": 0, "fallback": ["two"]},
            "two": {"base_url": two.base_url, "api_key": "sk-2"},
        }
        with bridged(tmp_path, config) as bridge:
            assert {ask(bridge.port).status for _ in range(ENOUGH + 3)} == {200}
            assert len(one.heard) == ENOUGH
            row = bridge.ended()
            assert (row["upstream"], row["attempts"]) == ("two", 1)


def test_a_client_that_leaves_during_the_probe_frees_the_way(tmp_path: Path) -> None:
    def state() -> str:
        up = send(bridge.port, method="GET", path="/readyz").json["upstreams"]["up"]
        return str(up["breakers"]["m-1"]["state"])

    with failing(tmp_path, breaker="100ms") as (bridge, upstream):
        for _ in range(ENOUGH):
            ask(bridge.port)
        upstream.answer = lambda talk: talk.await_leaving()
        eventually(lambda: state() == "half-open", what="the end of the pause")
        with connection(bridge.port) as client:
            client.sendall(request(bridge.port, b'{"model": "m-1", "messages": []}'))
            eventually(lambda: len(upstream.heard) > ENOUGH, what="the probe")
        upstream.answer = plainly
        eventually(lambda: ask(bridge.port).status == 200, what="the next probe")
