"""One scrape tells of all workers: their expositions put together, each sample with its worker's label.

Nothing is added up: a worker that begins anew resets its own series alone, which Prometheus knows how to
read, and gauges keep their meaning. `sum without (worker) (…)` is the whole.
"""

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

LABEL = "worker"


def merged(told: Mapping[int, bytes | None]) -> bytes:
    """The expositions of all workers by index as one; None of one that gave none."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Merged(told))
    return generate_latest(registry)


class _Merged(Collector):
    def __init__(self, told: Mapping[int, bytes | None]) -> None:
        self._told = told

    def collect(self) -> Iterator[Metric]:
        """Each family once, with the samples of all workers."""
        up = GaugeMetricFamily("aibridge_worker_up", "1 for a worker that answered.", labels=[LABEL])
        families: dict[str, Metric] = {}
        for index, told in sorted(self._told.items()):
            up.add_metric([str(index)], float(told is not None))
            for family in text_string_to_metric_families((told or b"").decode()):
                kept = families.setdefault(
                    family.name, Metric(family.name, family.documentation, family.type)
                )
                for each in family.samples:
                    labels = {**each.labels, LABEL: str(index)}
                    kept.add_sample(each.name, labels, each.value, each.timestamp, each.exemplar)
        yield up
        yield from families.values()
