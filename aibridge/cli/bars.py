"""Times of an exchange as bars: when each thing was, from the exchange's beginning to its end."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from operator import itemgetter
from typing import Any

from aibridge.cli.options import printable

WIDTH = 40
"""Columns that the whole exchange takes."""
EIGHTHS = " ▏▎▍▌▋▊▉█"
Row = Mapping[str, Any]


def timings(row: Row, calls: list[Row]) -> Iterator[str]:
    """Lines of an exchange that ended: its sums, and its injected calls where they were."""
    if row["started_at"] is None or row["ended_at"] is None:
        return
    whole = max(1.0, (row["ended_at"] - row["started_at"]).total_seconds() * 1000)
    yield f"  timings    {'├' + '─' * (WIDTH - 2) + '┤'} {_length(whole)}"
    for name, word in (("first_byte_ms", "first byte"), ("first_text_ms", "first text")):
        if row[name] is not None:
            yield f"  {word:<10} {_mark(row[name], whole)} after {_length(row[name])}"
    for name, word in (("upstream_ms", "upstream"), ("tools_ms", "tools"), ("overhead_ms", "own")):
        if row[name] is not None:
            yield f"  {word:<10} {_bar(0, row[name], whole)} {_length(row[name])}"
    ran = [call for call in calls if call["injected"] and call["started_at"] is not None]
    for call in sorted(ran, key=itemgetter("started_at")):
        began = _since(row["started_at"], call["started_at"])
        bar = _bar(began, call["duration_ms"], whole)
        yield f"  {_fit(printable(call['tool'] or call['name']))} {bar} {_length(call['duration_ms'])}"


def _since(start: datetime, then: datetime) -> float:
    return max(0.0, (then - start).total_seconds() * 1000)


def _bar(start: float, length: float, whole: float) -> str:
    """A bar of `length` from `start`, in WIDTH columns; never empty."""
    first = min(WIDTH - 1, int(start / whole * WIDTH))
    eighths = max(1, round(min(length / whole, 1) * WIDTH * 8))
    full, rest = divmod(eighths, 8)
    bar = "█" * full + (EIGHTHS[rest] if rest else "")
    return (" " * first + bar)[:WIDTH].ljust(WIDTH)


def _mark(at: float, whole: float) -> str:
    place = min(WIDTH - 1, int(at / whole * WIDTH))
    return ("·" * place + "▼").ljust(WIDTH)


def _length(millis: float) -> str:
    if millis >= 1000:
        return f"{millis / 1000:,.3f} s"
    return f"{millis:.0f} ms" if millis >= 10 or millis == int(millis) else f"{millis:.2f} ms"


def _fit(name: str) -> str:
    return name.ljust(10) if len(name) <= 10 else name[:9] + "…"
