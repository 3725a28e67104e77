"""`/metrics` tells Prometheus what `/readyz` tells people."""

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from aibridge.demo.tools import create_server
from tests.support.bridged import bridged, configuration
from tests.support.raw import Talk, answer_plainly, ask, raw_upstream, send
from tests.support.serving import Model
from tests.upstreams.scripted import refusal


def test_calls_failures_and_servers_that_are_away_are_counted(tmp_path: Path, model: Model) -> None:
    gone = {"gone": {"url": "http://127.0.0.1:9/mcp"}}
    config = configuration(tmp_path, model.base_url, mcp_servers=gone)
    script = 'call add {"a": 1, "b": 2} and call weather {}'
    with bridged(tmp_path, config, tools={"demo": create_server()}, awaited=["demo"]) as bridge:
        ask(bridge.port, messages=[{"role": "user", "content": script}])
        got = send(bridge.port, method="GET", path="/metrics")
    assert (got.status, got.header("content-type")) == (200, "text/plain; version=0.0.4; charset=utf-8")
    families = text_string_to_metric_families(got.body.decode())
    samples = {
        (each.name, each.labels["server"]): each.value
        for family in families
        for each in family.samples
        if "server" in each.labels
    }
    assert samples["aibridge_mcp_up", "demo"] == 1 and samples["aibridge_mcp_up", "gone"] == 0
    assert samples["aibridge_mcp_calls_total", "demo"] == 2
    assert samples["aibridge_mcp_tools", "demo"] == 5
    assert samples["aibridge_mcp_skipped_total", "gone"] == 1
    assert ("aibridge_mcp_call_seconds", "demo") in samples


def test_attempts_retries_fallbacks_and_what_rests_are_counted_for_each_upstream(tmp_path: Path) -> None:
    def fail(talk: Talk) -> None:
        talk.send(refusal(429 if talk.number == 0 else 500, retry_after_ms="1"))

    with raw_upstream(fail) as one, raw_upstream(answer_plainly) as two:
        config = configuration(tmp_path, one.base_url)
        own = {"api_key": "sk-1", "retries": 4, "fallback": ["two"]}
        config["upstreams"] = {
            "one": {"base_url": one.base_url, **own},
            "two": {"base_url": two.base_url, "api_key": "sk-2"},
        }
        with bridged(tmp_path, config) as bridge:
            assert {ask(bridge.port).status for _ in range(2)} == {200}
            got = send(bridge.port, method="GET", path="/metrics").body.decode()
    samples = {
        (each.name.removeprefix("aibridge_upstream_"), *each.labels.values()): each.value
        for family in text_string_to_metric_families(got)
        for each in family.samples
    }
    assert (samples["up", "one"], samples["up", "two"]) == (0, 1)
    assert (samples["attempts_total", "one"], samples["attempts_total", "two"]) == (6, 2)
    assert (samples["retries_total", "one"], samples["retries_total", "two"]) == (4, 0)
    assert (samples["fallbacks_total", "one"], samples["fallbacks_total", "two"]) == (2, 0)
    assert samples["failed_attempts_total", "429", "one"] == 1
    assert samples["failed_attempts_total", "500", "one"] == 5
    assert samples["breakers", "open", "one"] == 1 and samples["resting_keys", "two"] == 0
