"""`/metrics` for Prometheus: the MCP servers, from the same states that `/readyz` tells.

Labels are names of configured servers alone, so that their number is bounded.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

Family = TypeVar("Family", GaugeMetricFamily, CounterMetricFamily)
States = Mapping[str, Mapping[str, Any]]
SERVER = ["server"]
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
GAUGES = {
    "tools": ("aibridge_mcp_tools", "Tools that a server gives."),
    "sessions": ("aibridge_mcp_sessions", "Sessions of callers with credentials of their own."),
}
COUNTERS = {
    "restarts": ("aibridge_mcp_restarts", "Connections after the first one."),
    "calls": ("aibridge_mcp_calls", "Calls that ended."),
    "failed_calls": ("aibridge_mcp_failed_calls", "Calls that got no result of the tool."),
    "skipped": (
        "aibridge_mcp_skipped",
        "Requests served without the tools of a server that was away.",
    ),
}
QUANTILES = {"p50_ms": "0.5", "p99_ms": "0.99"}


def exposition(servers: States, *others: Collector) -> bytes:
    """The states of the MCP servers, and what `others` collect, in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Servers(lambda: servers))
    for other in others:
        registry.register(other)
    return generate_latest(registry)


class _Servers(Collector):
    """The MCP servers as metrics."""

    def __init__(self, states: Callable[[], States]) -> None:
        self._states = states

    def collect(self) -> Iterator[Metric]:
        """Every metric with a sample for each server that has it."""
        states = self._states()
        up = GaugeMetricFamily("aibridge_mcp_up", "1 while a server is connected.", labels=SERVER)
        for name, state in states.items():
            up.add_metric([name], float(state["state"] == "connected"))
        yield up
        for key, (metric, says) in GAUGES.items():
            yield _filled(GaugeMetricFamily(metric, says, labels=SERVER), states, key)
        for key, (metric, says) in COUNTERS.items():
            yield _filled(CounterMetricFamily(metric, says, labels=SERVER), states, key)
        took = GaugeMetricFamily(
            "aibridge_mcp_call_seconds", "How long the latest calls took.", labels=[*SERVER, "quantile"]
        )
        for name, state in states.items():
            for key, quantile in QUANTILES.items():
                if state.get(key) is not None:
                    took.add_metric([name, quantile], state[key] / 1000)
        yield took


def _filled(family: Family, states: States, key: str) -> Family:
    for name, state in states.items():
        if state.get(key) is not None:
            family.add_metric([name], float(state[key]))
    return family
