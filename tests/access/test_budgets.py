"""Budgets: checked before, charged after by what the records hear, and there again after a restart."""

import json
import random
from pathlib import Path
from typing import Any

from tests.access.conftest import PRICES
from tests.support.bridged import Bridged, bridged, configuration
from tests.support.keys import api, bearer, make_key
from tests.support.raw import (
    STREAM_HEAD,
    Got,
    RawUpstream,
    Talk,
    ask,
    connection,
    piece,
    request,
    said,
    whole,
)
from tests.support.waiting import eventually

PLAIN = 7000
"""Micro-dollars of a plain answer."""


def _spent(bridge: Bridged, key: dict[str, Any]) -> int:
    bridge.app.rooms().recorder.flush()
    spent: float = api(bridge.port, "GET", f"/keys/{key['id']}").json["spent"]
    return round(spent * 1_000_000)


def test_a_spent_budget_refuses_until_its_period_ends(bridge: Bridged, upstream: RawUpstream) -> None:
    key = make_key(bridge.port, "poor", budget="0.01/30d")
    assert ask(bridge.port, [bearer(key)]).status == 200  # 7000 of 10000
    assert ask(bridge.port, [bearer(key)]).status == 200  # what begins below the budget may pass it
    got = ask(bridge.port, [bearer(key)])
    assert (got.status, got.error["code"]) == (429, "budget_exceeded")
    assert got.header("x-should-retry") == "false"
    assert 29 * 86400 < int(got.header("retry-after") or 0) <= 30 * 86400
    assert "poor" in got.error["message"] and "0.01/30d" in got.error["message"]
    assert len(upstream.heard) == 2
    assert _spent(bridge, key) == 2 * PLAIN


def test_budgets_are_exact_over_random_exchanges(bridge: Bridged, upstream: RawUpstream) -> None:
    chance = random.Random(7)
    keys = [make_key(bridge.port, f"random {number}", budget="9000/1d") for number in range(3)]
    truth = dict.fromkeys((key["id"] for key in keys), 0)

    def answer(talk: Talk) -> None:
        usage = {"prompt_tokens": chance.randint(0, 900), "completion_tokens": chance.randint(0, 900)}
        truth[talk.heard.json["metadata"]["key"]] += (
            usage["prompt_tokens"] * 1000 + usage["completion_tokens"] * 2000
        )
        talk.send(whole(json.dumps({"id": "c", "model": "m-1", "choices": [], "usage": usage}).encode()))

    upstream.answer = answer
    for _ in range(60):
        key = chance.choice(keys)
        assert ask(bridge.port, [bearer(key)], metadata={"key": key["id"]}).status == 200
    spending = bridge.app.rooms().access.spending
    for key in keys:
        assert _spent(bridge, key) == truth[key["id"]]
        assert sum(spending.account(key["id"]).own.values()) == truth[key["id"]]


def test_work_that_the_client_left_is_charged_with_what_it_used(
    bridge: Bridged, upstream: RawUpstream
) -> None:
    key = make_key(bridge.port, budget="5/1d")

    def answer(talk: Talk) -> None:
        talk.send(STREAM_HEAD, *(piece(said("word ")) for _ in range(10)))
        talk.await_leaving()

    upstream.answer = answer
    body = b'{"model": "m-1", "stream": true, "messages": [{"role": "user", "content": "hi"}]}'
    with connection(bridge.port) as client:
        client.sendall(request(bridge.port, body, [("content-type", "application/json"), bearer(key)]))
        while client.recv(1 << 16).count(b"word ") == 0:
            pass
    row = bridge.ended()
    assert (row["status"], row["key_id"]) == ("cancelled", key["id"])
    [usage] = [each for each in bridge.rows("token_usages") if each["exchange_id"] == row["id"]]
    assert usage["source"] == "estimated" and usage["cost_micros"] > 0
    own = bridge.app.rooms().access.spending.account(key["id"]).own
    assert sum(own.values()) == usage["cost_micros"] == _spent(bridge, key)


def test_a_restart_keeps_what_was_spent(upstream: RawUpstream, tmp_path: Path) -> None:
    config = configuration(tmp_path, upstream.base_url)
    config["records"]["pricing"] = PRICES
    with bridged(tmp_path, config) as bridge:
        key = make_key(bridge.port, budget="0.01/30d")
        assert [ask(bridge.port, [bearer(key)]).status for _ in range(2)] == [200, 200]
    with bridged(tmp_path, config) as bridge:
        assert ask(bridge.port, [bearer(key)]).error["code"] == "budget_exceeded"


def test_two_processes_see_each_others_spending(upstream: RawUpstream, tmp_path: Path) -> None:
    config = configuration(tmp_path, upstream.base_url)
    config["records"]["pricing"] = PRICES
    with bridged(tmp_path, config) as one, bridged(tmp_path, config) as other:
        key = make_key(one.port, budget="0.01/30d")

        def asked() -> Got:
            return ask(other.port, [bearer(key)])

        eventually(lambda: asked().status == 200, what="the key at the other one")
        assert ask(one.port, [bearer(key)]).status == 200
        for bridge in (one, other):
            eventually(
                lambda bridge=bridge: ask(bridge.port, [bearer(key)]).status == 429,  # type: ignore[misc]
                what="the sum of both",
            )
