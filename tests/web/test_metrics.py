"""`/metrics` tells Prometheus what `/readyz` tells people."""

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from aibridge.demo.tools import create_server
from tests.support.bridged import bridged, configuration
from tests.support.raw import ask, send
from tests.support.serving import Model


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
        (each.name, each.labels["server"]): each.value for family in families for each in family.samples
    }
    assert samples["aibridge_mcp_up", "demo"] == 1 and samples["aibridge_mcp_up", "gone"] == 0
    assert samples["aibridge_mcp_calls_total", "demo"] == 2
    assert samples["aibridge_mcp_tools", "demo"] == 5
    assert samples["aibridge_mcp_skipped_total", "gone"] == 1
    assert ("aibridge_mcp_call_seconds", "demo") in samples
