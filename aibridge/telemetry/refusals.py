"""Requests that were refused for who asks, or for how much, for Prometheus: counted by a word each.

They become no exchanges, so no fact tells of them; the log has the same words.
"""

from collections.abc import Iterator

from prometheus_client import Counter
from prometheus_client.core import Metric
from prometheus_client.registry import Collector


class Refusals(Collector):
    """Counts words, which aibridge's own code has made up: there are few."""

    def __init__(self) -> None:
        self._counter = Counter(
            "aibridge_refusals",
            "Requests refused for their key, its model, its limits or its budget, by a word.",
            ["reason"],
            registry=None,
        )

    def __call__(self, reason: str) -> None:
        """One more."""
        self._counter.labels(reason).inc()

    def collect(self) -> Iterator[Metric]:
        """All that was counted."""
        yield from self._counter.collect()
