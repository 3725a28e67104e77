"""The figures of a group of exchanges: sums that can be added, and the times that percentiles are read from.

A year has a hundred thousand groups of a day, so these are plain lists, and times stay as they are kept until
one is read. Times of the bridge's own are in microseconds, all others in milliseconds.
"""

import struct
import sys
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from aibridge.nouns import Total

TOKENS = ("input", "cache_read", "cache_write", "output", "reasoning")
COUNTS = ("exchanges", "errors", "calls", "unpriced", "priced", *TOKENS, "cost_micros")
TIMES = ("first_byte", "overhead", "duration")
PLACE = {name: number for number, name in enumerate(COUNTS)}
FIRST_TOKENS, REASONING = PLACE["input"], PLACE["reasoning"]
LARGEST = (1 << 32) - 1
WIDTH = 4
"""Bytes of a time."""
Part = Sequence[bytes | None]
"""`packed` values of each of TIMES, or None."""
_read = struct.Struct("<I").unpack_from


@dataclass(slots=True)
class Sums:
    """What is added up of a group."""

    counts: list[int] = field(default_factory=lambda: [0] * len(COUNTS))
    """In the order of COUNTS."""
    times: list[Part] = field(default_factory=list)
    """All values, in parts."""

    def count(self, name: str, value: int) -> None:
        """Add to one of COUNTS."""
        self.counts[PLACE[name]] += value

    def counted(self, name: str) -> int:
        """One of COUNTS."""
        return self.counts[PLACE[name]]

    @property
    def tokens(self) -> int:
        """All tokens; those of reasoning are part of the output."""
        return sum(self.counts[FIRST_TOKENS:REASONING])

    def add(self, other: "Sums") -> None:
        """Add the figures of the same group in another time."""
        self.counts = [one + more for one, more in zip(self.counts, other.counts, strict=True)]
        self.times += other.times

    def parts(self, name: str) -> list[bytes]:
        """The values of one of TIMES."""
        place = TIMES.index(name)
        return [values for part in self.times if (values := part[place])]

    def total(self, group: str | None, *, of_tools: bool) -> Total:
        """The figures as they are told."""
        exchanges, errors, calls, unpriced, priced, fresh, read, written, output, reasoning, cost = (
            self.counts
        )
        if of_tools:
            half, most = percentiles(self.parts("duration"))
            return Total(group, exchanges, errors, calls, duration_p50=half, duration_p95=most)
        first = percentiles(self.parts("first_byte"))
        own = percentiles(self.parts("overhead"))
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
            overhead_p50=None if own[0] is None else own[0] / 1000,
            overhead_p95=None if own[1] is None else own[1] / 1000,
        )


def put(found: dict[str | None, Sums], group: str | None, sums: Sums) -> None:
    """Add `sums`, which are given away, to those of `group`."""
    if (known := found.get(group)) is None:
        found[group] = sums
    else:
        known.add(sums)


def packed(values: Iterable[int]) -> bytes:
    """The values in order, four bytes each, little endian; what no exchange takes is cut at 49 days."""
    return _in_order(min(max(value, 0), LARGEST) for value in values)


def joined(parts: Sequence[bytes]) -> bytes:
    """The values of all `packed` parts, packed."""
    if len(parts) == 1:
        return parts[0]
    times = array("I", b"".join(parts))
    if sys.byteorder == "big":
        times.byteswap()
    return _in_order(times)


def _in_order(values: Iterable[int]) -> bytes:
    ordered = array("I", sorted(values))
    if sys.byteorder == "big":
        ordered.byteswap()
    return ordered.tobytes()


def percentiles(parts: Sequence[bytes]) -> tuple[int, int] | tuple[None, None]:
    """The smallest values that 50 and 95 % of all do not exceed (nearest rank); None where there are none."""
    if not parts:
        return None, None
    ordered = joined(parts)
    count = len(ordered) // WIDTH
    [half] = _read(ordered, ((count * 50 + 99) // 100 - 1) * WIDTH)
    [most] = _read(ordered, ((count * 95 + 99) // 100 - 1) * WIDTH)
    return half, most
