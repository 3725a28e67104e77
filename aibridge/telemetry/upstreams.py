"""The upstreams for Prometheus: from the states that `/readyz` tells, and from the facts of exchanges.

Models are counted, not named: their names come from callers.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from aibridge.facts import ExchangeEnded, Fact

States = Mapping[str, Mapping[str, Any]]
UPSTREAM = ["upstream"]


class Fallbacks:
    """A listener that counts how often an upstream was left for the next one."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def __call__(self, fact: Fact) -> None:
        """Hear `fact`."""
        if isinstance(fact, ExchangeEnded) and fact.left:
            self.counts.update(fact.left)


class Upstreams(Collector):
    """The upstreams as metrics."""

    def __init__(self, states: States, fallbacks: Mapping[str, int]) -> None:
        self._states, self._fallbacks = states, fallbacks

    def collect(self) -> Iterator[Metric]:
        """Every metric with a sample for each upstream."""
        up = GaugeMetricFamily("aibridge_upstream_up", "0 while its last request failed.", labels=UPSTREAM)
        attempts = _counter("attempts", "Requests that were sent, retries included.")
        retries = _counter("retries", "Requests that were sent again.")
        fallbacks = _counter("fallbacks", "Exchanges that left it for the next upstream.")
        failures = _counter("failed_attempts", "Requests that failed, by status or by a word.", "code")
        resting = GaugeMetricFamily("aibridge_upstream_resting_keys", "Keys that rest.", labels=UPSTREAM)
        breakers = GaugeMetricFamily(
            "aibridge_upstream_breakers", "Models that are not asked now.", labels=[*UPSTREAM, "state"]
        )
        for name, state in self._states.items():
            up.add_metric([name], float(state["state"] != "failing"))
            attempts.add_metric([name], state["attempts"])
            retries.add_metric([name], state["retries"])
            fallbacks.add_metric([name], self._fallbacks.get(name, 0))
            resting.add_metric([name], len(state["resting_keys"]))
            for code, count in state["failures"].items():
                failures.add_metric([name, code], count)
            found = Counter(each["state"] for each in state["breakers"].values())
            for kind in ("open", "half-open"):
                breakers.add_metric([name, kind], found[kind])
        yield from (up, attempts, retries, fallbacks, failures, resting, breakers)


def _counter(name: str, says: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"aibridge_upstream_{name}", says, labels=[*UPSTREAM, *labels])
