"""What Prometheus scrapes of exchanges is what the records hold."""

import random
from collections import Counter
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from aibridge.demo.tools import create_server
from aibridge.facts import ExchangeEnded, ExchangeStarted
from aibridge.nouns import Caller
from aibridge.telemetry.exchanges import MOST_VALUES, OTHER, Bounded, Exchanges
from tests.support.bridged import Bridged, bridged, configuration
from tests.support.raw import JSON_TYPE, ask, send
from tests.support.serving import Model

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
LONE = "\ud800"
"""Half a surrogate pair: JSON can escape it, UTF-8 cannot carry it."""
PRICES = {"*": {"input": 1000, "output": 2000}}
SCRIPTS = (
    "say hello",
    'call add {"a": 1, "b": 2} then say three',
    "call fail {} then say sorry",
    'call lookup {"q": 1}',
    "fail 400",
)


def scraped(bridge: Bridged) -> Samples:
    got = send(bridge.port, method="GET", path="/metrics").body.decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(got)
        for sample in family.samples
    }


def summed(samples: Samples, name: str, **labels: str) -> float:
    wanted = set(labels.items())
    return sum(value for (each, of), value in samples.items() if each == name and wanted <= set(of))


def test_random_exchanges_are_scraped_as_they_are_recorded(tmp_path: Path, model: Model) -> None:
    dice = random.Random(4180)
    config = configuration(tmp_path, model.base_url)
    config["records"]["pricing"] = PRICES
    own = [
        {
            "type": "function",
            "function": {"name": "lookup", "parameters": {"type": "object", "properties": {}}},
        }
    ]
    with bridged(tmp_path, config, {"demo": create_server()}) as bridge:
        for _ in range(25):
            headers = [JSON_TYPE, ("user-agent", dice.choice(["curl/8", "OpenAI/Python 3.52.0"]))]
            messages = [{"role": "user", "content": dice.choice(SCRIPTS)}]
            more = {"stream": dice.random() < 0.5, "model": dice.choice(["one", "two"]), "tools": own}
            ask(bridge.port, headers, messages=messages, **more)
        send(bridge.port, method="GET", path="/v1/files")
        samples = scraped(bridge)
        exchanges, rounds, calls = (
            bridge.rows(table) for table in ("exchanges", "token_usages", "tool_calls")
        )
    for (api, name, client, status), count in Counter(
        (row["api"], row["model"], row["client"], row["status"]) for row in exchanges
    ).items():
        labels = {"api": api, "model": name or "", "client": client or "", "status": status}
        assert summed(samples, "aibridge_exchanges_total", **labels) == count, labels
    assert summed(samples, "aibridge_exchanges_total") == len(exchanges) == 26
    assert summed(samples, "aibridge_exchange_seconds_count") == len(exchanges)
    for kind in ("input", "cache_read", "output", "reasoning"):
        total = sum(row[kind] for row in rounds)
        assert summed(samples, "aibridge_tokens_total", type=kind) == total, kind
    cost = sum(row["cost_micros"] for row in rounds)
    assert summed(samples, "aibridge_cost_dollars_total") == pytest.approx(cost / 1_000_000)
    for (tool, status), count in Counter(
        (row["tool"], row["status"]) for row in calls if row["injected"]
    ).items():
        assert summed(samples, "aibridge_tool_calls_total", tool=tool, status=status) == count
    relayed = sum(not row["injected"] for row in calls)
    assert relayed and summed(samples, "aibridge_relayed_calls_total") == relayed
    assert summed(samples, "aibridge_in_flight") == 0 and summed(samples, "aibridge_records_up") == 1
    assert {row["status"] for row in exchanges} == {"completed", "failed"}


def test_values_from_outside_are_bounded() -> None:
    label = Bounded()
    assert [label(f"model-{at}") for at in range(MOST_VALUES)] == [f"model-{at}" for at in range(MOST_VALUES)]
    assert label("one-more") == OTHER and label("model-7") == "model-7" and label(None) == ""


def test_a_label_that_utf_8_cannot_carry_is_scraped_all_the_same() -> None:
    exchanges = Exchanges(lambda _: 0)
    caller = Caller("anonymous", client=LONE)
    exchanges(
        ExchangeStarted("e-1", 0.0, caller, "chat", "/", f"m{LONE}", "up", streamed=True, injected_tools=0)
    )
    exchanges(ExchangeEnded("e-1", 1.0, "completed", 200, 1, 1))
    registry = CollectorRegistry()
    registry.register(exchanges)
    assert b'model="m?"' in generate_latest(registry) and b'client="?"' in generate_latest(registry)


def test_metrics_can_be_switched_off(tmp_path: Path, model: Model) -> None:
    config = configuration(tmp_path, model.base_url, telemetry={"metrics": False})
    with bridged(tmp_path, config) as bridge:
        assert send(bridge.port, method="GET", path="/metrics").status == 404
