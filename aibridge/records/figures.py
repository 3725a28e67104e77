"""The figures of a group of exchanges: sums that can be added, and the times that percentiles are read from.

A year has a hundred thousand groups of a day, so these are plain lists and arrays. Times of the bridge's own
are in microseconds, all others in milliseconds.
"""

import sys
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from aibridge.nouns import Total

TOKENS = ("input", "cache_read", "cache_write", "output", "reasoning")
COUNTS = ("exchanges", "errors", "calls", "unpriced", "priced", *TOKENS, "cost_micros")
TIMES = ("first_byte", "overhead", "duration")
PLACE = {name: number for number, name in enumerate(COUNTS)}
LARGEST = (1 << 32) - 1
Times: TypeAlias = "array[int]"


@dataclass(slots=True)
class Sums:
    """What is added up of a group."""

    counts: list[int] = field(default_factory=lambda: [0] * len(COUNTS))
    """In the order of COUNTS."""
    times: list[Times] = field(default_factory=lambda: [array("I") for _ in TIMES])
    """All values, in the order of TIMES."""

    def count(self, name: str, value: int) -> None:
        """Add to one of COUNTS."""
        self.counts[PLACE[name]] += value

    def add(self, other: "Sums") -> None:
        """Add the figures of the same group in another time."""
        self.counts = [one + more for one, more in zip(self.counts, other.counts, strict=True)]
        for one, more in zip(self.times, other.times, strict=True):
            one.extend(more)

    def total(self, group: str | None, *, of_tools: bool) -> Total:
        """The figures as they are told."""
        exchanges, errors, calls, unpriced, priced, fresh, read, written, output, reasoning, cost = (
            self.counts
        )
        first, own, duration = map(_percentiles, self.times)
        half, most = (None if value is None else value / 1000 for value in own)
        if of_tools:
            return Total(group, exchanges, errors, calls, duration_p50=duration[0], duration_p95=duration[1])
        return Total(
            group,
            exchanges,
            errors,
            calls,
            fresh,
            read,
            written,
            output,
            reasoning,
            cost if priced else None,
            unpriced,
            first_byte_p50=first[0],
            first_byte_p95=first[1],
            overhead_p50=half,
            overhead_p95=most,
        )


def put(found: dict[str | None, Sums], group: str | None, sums: Sums) -> None:
    """Add `sums`, which are given away, to those of `group`."""
    if (known := found.get(group)) is None:
        found[group] = sums
    else:
        known.add(sums)


def times_of(values: Iterable[int]) -> Times:
    """Values as they are kept; what no exchange takes is cut at 49 days."""
    return array("I", (min(max(value, 0), LARGEST) for value in values))


def packed(times: Times) -> bytes:
    """The values in order, four bytes each, little endian; in order, because that sorts faster later."""
    ordered = array("I", sorted(times))
    if sys.byteorder == "big":
        ordered.byteswap()
    return ordered.tobytes()


def unpacked(data: bytes | None) -> Times:
    """What `packed` gave."""
    times = array("I", data or b"")
    if sys.byteorder == "big":
        times.byteswap()
    return times


def percentile(ordered: Sequence[int], percent: int) -> int:
    """The smallest value that `percent` of all do not exceed (nearest rank)."""
    return ordered[-(-len(ordered) * percent // 100) - 1]


def _percentiles(times: Times) -> tuple[int, int] | tuple[None, None]:
    if not times:
        return None, None
    ordered = sorted(times)
    return percentile(ordered, 50), percentile(ordered, 95)
