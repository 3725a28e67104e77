"""Several keys of one upstream: in turn, those that are refused rest, and none is ever shown."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aibridge import config as configurations
from aibridge.errors import ConfigError
from aibridge.upstreams.credentials import BUSY_REST, LONGEST_REST, REFUSED_REST, Keys
from tests.bridge.clock import Clock
from tests.support.bridged import Bridged, bridged, configuration
from tests.support.raw import COMPLETION, RawUpstream, Talk, answer_plainly, ask, raw_upstream, send, whole
from tests.upstreams.scripted import CALLS, attempts_of, bridged_before, probed, refusal
from tests.upstreams.test_breaker import Time

KEYS = [f"sk-test-{'x' * 20}-{letter * 4}" for letter in "abc"]


def bearer(talk: Talk) -> str:
    """The key that a request brought."""
    [value] = talk.heard.all("authorization")
    return value.removeprefix("Bearer ")


@contextmanager
def keyed(folder: Path, answers: dict[str, bytes]) -> Iterator[tuple[Bridged, RawUpstream, list[str]]]:
    """A bridge with three keys; `answers` refuse some of them. Also the keys in the order of their use."""
    used: list[str] = []

    def answer(talk: Talk) -> None:
        used.append(bearer(talk))
        if refused := answers.get(used[-1]):
            talk.send(refused)
        elif talk.heard.body:
            answer_plainly(talk)
        else:
            talk.send(whole(b'{"data": []}'))

    with bridged_before(folder, answer, api_key=KEYS, retries=0) as both:
        yield *both, used


def test_keys_are_used_in_turn(tmp_path: Path) -> None:
    with keyed(tmp_path, {}) as (bridge, _, used):
        for _ in range(6):
            assert ask(bridge.port).status == 200
        assert used == KEYS * 2


@pytest.mark.parametrize("status", [401, 402, 403, 429])
def test_a_key_that_is_refused_rests_and_the_same_request_goes_on_with_another(
    tmp_path: Path, status: int
) -> None:
    with keyed(tmp_path, {KEYS[0]: refusal(status, retry_after="60")}) as (bridge, _, used):
        for _ in range(3):
            assert ask(bridge.port).status == 200
        assert used == [KEYS[0], KEYS[1], KEYS[2], KEYS[1]]
        assert attempts_of(bridge.rows("failed_attempts")) == [("up", str(status), True)]
        [rests] = send(bridge.port, method="GET", path="/readyz").json["upstreams"]["up"]["resting_keys"]
        assert (rests["key"], rests["reason"]) == ("key 1 (…aaaa)", f"answered {status}")
        assert 0 < rests["seconds"] <= (60 if status == 429 else REFUSED_REST)


def test_where_every_key_is_refused_the_upstreams_own_answer_is_told(tmp_path: Path) -> None:
    refused = {key: refusal(401, f"key {number}") for number, key in enumerate(KEYS)}
    with keyed(tmp_path, refused) as (bridge, _, used):
        assert (ask(bridge.port).status, len(used)) == (401, 3)
        assert ask(bridge.port).status == 401, "they are used all the same: the upstream says most"
        refused.clear()
        assert ask(bridge.port).status == 200


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings"])
@pytest.mark.parametrize("retries", [0, 1])
def test_where_one_key_was_only_busy_that_is_what_counts(tmp_path: Path, retries: int, path: str) -> None:
    """It is waited for where that is allowed; else the client is told of it, and not of our bad keys."""
    used: list[str] = []

    def answer(talk: Talk) -> None:
        used.append(bearer(talk))
        if used[-1] != KEYS[1]:
            talk.send(refusal(401, "a bad key"))
        elif used.count(KEYS[1]) == 1:
            talk.send(refusal(429, "slow", retry_after_ms="300"))
        else:
            talk.send(whole(COMPLETION))

    with bridged_before(tmp_path, answer, api_key=KEYS, retries=retries) as (bridge, _):
        got = send(bridge.port, b'{"model": "m-1", "messages": []}', path=path)
        told = attempts_of(bridge.rows("failed_attempts"))
        assert bridge.ended()["attempts"] == len(used)
    assert told == [("up", "401", True), ("up", "429", True), ("up", "401", bool(retries))]
    if retries:
        assert (got.status, got.body, used[3:]) == (200, COMPLETION, [KEYS[1]])
    else:
        assert (got.status, got.error["message"], got.header("retry-after-ms")) == (429, "slow", "300")


def test_a_wait_that_is_too_long_is_told_rather_than_a_bad_key(tmp_path: Path) -> None:
    answers = {KEYS[0]: refusal(429, "slow", retry_after="60"), KEYS[1]: refusal(429, retry_after="90")}
    with keyed(tmp_path, {**answers, KEYS[2]: refusal(401)}) as (bridge, _, used):
        got = ask(bridge.port)
        assert (got.status, got.error["message"], got.header("retry-after")) == (429, "slow", "60")
        assert used == KEYS


def test_no_key_is_shown_anywhere(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    refused = {KEYS[0]: refusal(401, "no"), KEYS[1]: refusal(429, "slow", retry_after="9")}
    with keyed(tmp_path, refused) as (bridge, _, _used):
        got = [ask(bridge.port), send(bridge.port, b'{"model": "e"}', path="/v1/embeddings")]
        for path in ("/readyz", "/metrics", "/v1/models"):
            got.append(send(bridge.port, method="GET", path=path))
        router = bridge.app.rooms().router
        shown = [repr(router), repr(router.upstreams), repr(vars(router.upstreams[0])), repr(bridge.rows())]
        shown += [repr(bridge.rows("failed_attempts")), repr(bridge.app.config), str(got)]
    journal = b"".join(path.read_bytes() for path in (tmp_path / "journal").rglob("*") if path.is_file())
    told = "".join([*shown, *capfd.readouterr(), journal.decode("latin-1")])
    assert "key 1 (…aaaa)" in told
    for key in KEYS:
        assert key not in told and key[:16] not in told


def test_a_key_that_is_busy_in_round_2_does_not_lose_what_tools_did(tmp_path: Path) -> None:
    clock, used = Clock(), list[str]()

    def answer(talk: Talk) -> None:
        used.append(bearer(talk))
        if talk.number == 0:
            talk.send(CALLS)
        elif used[-1] == KEYS[1]:
            talk.send(refusal(429, retry_after="60"))
        else:
            answer_plainly(talk)

    with raw_upstream(answer) as upstream:
        config = configuration(tmp_path, upstream.base_url)
        config["upstreams"]["up"] |= {"api_key": KEYS, "retries": 0}
        with bridged(tmp_path, config, {"time": clock.server}) as bridge:
            assert b"Hel" in ask(bridge.port, stream=True).body
    assert (used, clock.answered["now"]) == (KEYS, 1)


def test_a_probe_names_the_key_that_is_refused() -> None:
    def answer(talk: Talk) -> None:
        talk.send(refusal(401) if bearer(talk) == KEYS[0] else refusal(404))

    with raw_upstream(answer) as upstream:
        found = probed(upstream.base_url, api_key=KEYS)
    assert found == (False, "upstream 'up' refuses key 1 (…aaaa) of its api_key")


def test_how_long_a_key_rests() -> None:
    time = Time()
    keys = Keys("up", KEYS[:2], {}, time)
    first = keys.next()
    keys.refused(first, 429, None)
    assert keys.resting()[0]["seconds"] == BUSY_REST
    keys.refused(first, 429, 0.0)
    assert keys.resting() == []
    keys.refused(first, 429, 1e9)
    assert keys.resting()[0]["seconds"] == LONGEST_REST
    time.now += LONGEST_REST
    assert keys.resting() == [] and {keys.next(), keys.next()} > {first}


def test_short_keys_have_no_mask() -> None:
    keys = Keys("up", ["short-key"], {})
    assert keys.next().name == "key 1"


def test_an_empty_list_is_refused_and_a_gap_in_one_is_not() -> None:
    def parsed(keys: list[str | None]) -> configurations.Config:
        value = {"upstreams": {"up": {"base_url": "http://127.0.0.1:9/v1", "api_key": keys}}}
        return configurations.parse(value, environ={"SECOND": "sk-2"})

    with pytest.raises(ConfigError, match=r"upstreams\.up\.api_key: the list holds no key"):
        parsed([])
    config = parsed(["${FIRST:-}", "${SECOND}"])
    assert config.upstreams["up"].api_keys() == ["sk-2"] and config.secrets() == {"sk-2"}


def test_a_header_that_is_a_credential_is_a_key_of_ours(tmp_path: Path) -> None:
    with raw_upstream(answer_plainly) as upstream:
        config = configuration(tmp_path, upstream.base_url)
        config["upstreams"]["up"]["headers"] = {"api-key": "azure-key"}
        with bridged(tmp_path, config) as bridge:
            ask(bridge.port, [("authorization", "Bearer sk-callers")])
    assert upstream.heard[0].all("authorization") == []
    assert upstream.heard[0].all("api-key") == ["azure-key"]
