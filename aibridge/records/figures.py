"""The figures of a group of exchanges: sums that can be added, and histograms that percentiles are read from.

A histogram counts values by their first three digits, so a percentile is exact below 1000 and else at most
1 % too small. Times of the bridge's own are counted in microseconds, all others in milliseconds.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aibridge.nouns import Total

TOKENS = ("input", "cache_read", "cache_write", "output", "reasoning")
COUNTS = ("exchanges", "errors", "calls", "unpriced", "priced", *TOKENS, "cost_micros")
TIMES = ("first_byte", "overhead", "duration")


@dataclass(slots=True)
class Sums:
    """What is added up of a group."""

    counts: Counter[str] = field(default_factory=Counter)
    """By COUNTS."""
    times: dict[str, Counter[int]] = field(default_factory=dict)
    """Histograms by TIMES."""

    def add(self, other: "Sums") -> None:
        """Add the figures of the same group in another time."""
        self.counts.update(other.counts)
        for name, histogram in other.times.items():
            self.times.setdefault(name, Counter()).update(histogram)

    def total(self, group: str | None, *, of_tools: bool) -> Total:
        """The figures as they are told."""
        counts = self.counts
        total = {name: counts[name] for name in ("exchanges", "errors", "calls")}
        if of_tools:
            return Total(group, **total, **self._percentiles("duration"))
        tokens = {name: counts[name] for name in (*TOKENS, "unpriced")}
        overhead = {name: value / 1000 for name, value in self._percentiles("overhead").items()}
        cost = counts["cost_micros"] if counts["priced"] else None
        times: dict[str, Any] = {**self._percentiles("first_byte"), **overhead}
        return Total(group, **total, **tokens, cost_micros=cost, **times)

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        flat = {
            name: [each for pair in sorted(one.items()) for each in pair] for name, one in self.times.items()
        }
        return {"counts": dict(self.counts), "times": flat}

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> "Sums":
        """What `plain` gave."""
        times = {
            name: Counter(dict(zip(flat[::2], flat[1::2], strict=True)))
            for name, flat in plain["times"].items()
        }
        return cls(Counter(plain["counts"]), times)

    def _percentiles(self, name: str) -> dict[str, int]:
        histogram = self.times.get(name)
        if not histogram:
            return {}
        return {f"{name}_p{percent}": percentile(histogram, percent) for percent in (50, 95)}


def percentile(histogram: Mapping[int, int], percent: int) -> int:
    """The smallest value that `percent` of all do not exceed (nearest rank)."""
    rank = math.ceil(sum(histogram.values()) * percent / 100)
    for value in sorted(histogram):
        rank -= histogram[value]
        if rank <= 0:
            return value
    raise ValueError("a percentile needs values")


def rounded(value: int) -> int:
    """`value` with its first three digits; what `narrowing.bucket` is in SQL."""
    step = 1
    while value >= 1000 * step:
        step *= 10
    return value // step * step
