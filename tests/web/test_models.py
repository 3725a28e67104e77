"""`GET /v1/models`: who is asked, with which credential, and what becomes of those that do not answer."""

from pathlib import Path
from typing import Any

import pytest

from aibridge.upstreams import client
from aibridge.upstreams.model_list import FAILURE_REMEMBERED
from tests.support.bridged import bridged, configuration
from tests.support.raw import Got, RawUpstream, Talk, raw_upstream, send, whole
from tests.upstreams.scripted import probed, refusal

Json = dict[str, Any]
SOON = 0.2
"""Seconds that a list may take here."""


def lists(name: str) -> bytes:
    return whole(b'{"object": "list", "data": [{"id": "%s-1"}]}' % name.encode())


def one(talk: Talk) -> None:
    talk.send(lists("one"))


def two(talk: Talk) -> None:
    talk.send(lists("two"))


def hangs(talk: Talk) -> None:
    talk.await_leaving()


def before(folder: Path, **named: RawUpstream) -> Json:
    """A configuration with these upstreams, each with the models of its name."""
    config = configuration(folder, "")
    config["upstreams"] = {
        name: {"base_url": each.base_url, "models": [f"{name}-*"]} for name, each in named.items()
    }
    return config


def listed(port: int, key: str = "callers-own") -> Got:
    return send(port, method="GET", path="/v1/models", headers=[("authorization", f"Bearer {key}")])


def ids(got: Got) -> list[str]:
    return [each["id"] for each in got.json["data"]]


def test_an_upstream_that_hangs_is_left_out_soon_and_not_asked_again_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "LISTING", SOON)
    with (
        raw_upstream(hangs) as hanging,
        raw_upstream(one) as healthy,
        bridged(tmp_path, before(tmp_path, slow=hanging, one=healthy)) as bridge,
    ):
        now = [1000.0]
        bridge.app.rooms().models.clock = lambda: now[0]
        for _ in range(2):
            got = listed(bridge.port)
            assert (ids(got), got.header("x-aibridge-unavailable")) == (["one-1"], "slow")
        assert (len(hanging.heard), len(healthy.heard)) == (1, 1), "both are remembered"
        now[0] += FAILURE_REMEMBERED
        hanging.answer = lambda talk: talk.send(lists("slow"))
        got = listed(bridge.port)
        assert (ids(got), got.header("x-aibridge-unavailable")) == (["slow-1", "one-1"], None)
        assert (len(hanging.heard), len(healthy.heard)) == (2, 1), "what failed is forgotten first"


def test_a_probe_of_an_upstream_that_hangs_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "LISTING", SOON)

    with raw_upstream(hangs) as hanging:
        assert probed(hanging.base_url) == (
            False,
            "upstream 'up' gave no list of models within 0.2 s",
        )


def credentials(upstream: RawUpstream) -> list[list[str]]:
    return [heard.all("authorization") for heard in upstream.heard]


def test_a_callers_credential_reaches_the_first_upstream_alone(tmp_path: Path) -> None:
    def refuses_strangers(talk: Talk) -> None:
        talk.send(lists("third") if talk.heard.all("authorization") else refusal(401))

    with (
        raw_upstream(one) as first,
        raw_upstream(two) as second,
        raw_upstream(refuses_strangers) as third,
        bridged(tmp_path, before(tmp_path, one=first, two=second, third=third)) as bridge,
    ):
        got = listed(bridge.port)
        assert credentials(first) == [["Bearer callers-own"]]
        assert credentials(second) == credentials(third) == [[]]
        assert (ids(got), got.header("x-aibridge-unavailable")) == (["one-1", "two-1"], "third")
        listed(bridge.port, "anothers")
        assert (len(first.heard), len(second.heard)) == (2, 1), "without a credential the list is everybody's"
        named = send(
            bridge.port,
            method="GET",
            path="/third/v1/models",
            headers=[("authorization", "Bearer for-third")],
        )
        assert ids(named) == ["third-1"] and credentials(third)[-1] == ["Bearer for-third"]


def test_where_the_first_upstream_has_a_key_of_ours_no_other_of_several_gets_the_callers(
    tmp_path: Path,
) -> None:
    with (
        raw_upstream(one) as first,
        raw_upstream(two) as second,
        raw_upstream(two) as third,
    ):
        config = before(tmp_path, one=first, two=second, three=third)
        config["upstreams"]["one"]["api_key"] = "sk-ours"
        with bridged(tmp_path, config) as bridge:
            listed(bridge.port)
    assert credentials(first) == [["Bearer sk-ours"]]
    assert credentials(second) == credentials(third) == [[]]


def test_the_only_upstream_without_a_key_gets_the_callers(tmp_path: Path) -> None:
    with raw_upstream(one) as first, raw_upstream(two) as second:
        config = before(tmp_path, one=first, two=second)
        config["upstreams"]["one"]["api_key"] = "sk-ours"
        with bridged(tmp_path, config) as bridge:
            listed(bridge.port)
    assert (credentials(first), credentials(second)) == ([["Bearer sk-ours"]], [["Bearer callers-own"]])
