"""The records for Prometheus: what waits for the database, and what was lost."""

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class Recording(Collector):
    """How the recorder is, as metrics."""

    def __init__(self, health: Mapping[str, Any], lost: Mapping[str, int]) -> None:
        self._health, self._lost = health, lost

    def collect(self) -> Iterator[Metric]:
        """Each with one sample, but for what was lost, by kind; nothing where records are off."""
        if self._health["state"] == "off":
            return
        up = GaugeMetricFamily("aibridge_records_up", "0 while records are degraded.")
        up.add_metric([], float(self._health["state"] == "ok"))
        pending = GaugeMetricFamily("aibridge_records_pending", "Entries that the database has not yet.")
        pending.add_metric([], self._health["pending"])
        lost = CounterMetricFamily("aibridge_records_lost", "Facts that could not be kept.", labels=["kind"])
        for kind, count in self._lost.items():
            lost.add_metric([kind], count)
        yield from (up, pending, lost)
