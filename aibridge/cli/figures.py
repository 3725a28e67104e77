"""Totals as a table, exchanges as lines, for people at a terminal; 80 columns hold what matters."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from aibridge.cli.options import printable
from aibridge.nouns import Filter, Total

if TYPE_CHECKING:
    from rich.table import Table

OF_TOOLS = ("tool", "server")
NARROW = 100
"""Columns below which the table leaves out what can be asked for by --format json."""
WIDTHS = {"time (UTC)": 14, "id": 13, "status": 11, "model": 13, "tokens": 12, "cost": 7}


def print_totals(found: Sequence[Total], by: str, wanted: Filter) -> None:
    """The table of totals by `by`."""
    from rich.console import Console
    from rich.text import Text

    if not found:
        typer.echo(_nothing(wanted))
        return
    console = Console(file=sys.stdout)
    table = _table(by)
    columns = list(_columns(by, wide=console.width >= NARROW))
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for total in found:
        figures = _figures(total)
        table.add_row(Text(printable(total.group or "–")), *(figures[name] for name in columns))
    console.print(table)


def _table(by: str) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column(by, overflow="fold")
    return table


def _nothing(wanted: Filter) -> str:
    """What is said where there is nothing, with the period."""
    if wanted == Filter(since=wanted.since, until=wanted.until):
        what = "no exchanges are recorded"
    else:
        what = "no such exchanges are recorded"
    since = f" since {wanted.since:%Y-%m-%d %H:%M} UTC" if wanted.since else ""
    return what + since + (f" until {wanted.until:%Y-%m-%d %H:%M} UTC" if wanted.until else "")


def _columns(by: str, *, wide: bool) -> Iterator[str]:
    if by in OF_TOOLS:
        yield from ("exchanges", "calls", "errors", "p50", "p95")
        return
    yield from ("exch.", "err", "in", "cache", "out")
    if wide:
        yield from ("reasoning", "calls")
    yield from ("cost", "first byte", "own")


def _figures(total: Total) -> dict[str, str]:
    cached = None if total.cache_read is None else total.cache_read + (total.cache_write or 0)
    return {
        "exchanges": f"{total.exchanges:,}",
        "exch.": f"{total.exchanges:,}",
        "errors": f"{total.errors:,}",
        "err": f"{total.errors:,}",
        "in": short(total.input),
        "cache": short(cached),
        "out": short(total.output),
        "reasoning": short(total.reasoning),
        "calls": f"{total.calls:,}",
        "cost": _cost(total),
        "first byte": _pair(millis(total.first_byte_p50), millis(total.first_byte_p95)),
        "own": _pair(millis(total.overhead_p50), millis(total.overhead_p95)),
        "p50": millis(total.duration_p50),
        "p95": millis(total.duration_p95),
    }


def _cost(total: Total) -> str:
    """A `+` says that some rounds have no price."""
    return dollars(total.cost_micros) + ("+" if total.cost_micros is not None and total.unpriced else "")


def _pair(half: str, most: str) -> str:
    return f"{half}/{most}" if half != most else half


def dollars(micros: int | None) -> str:
    """Micro-dollars as people write them; a dash where no price is known."""
    if micros is None:
        return "–"
    value = micros / 1_000_000
    return f"${value:,.2f}" if value >= 10 else f"${value:.4f}"


def short(count: int | None) -> str:
    """A number of tokens in five letters or so."""
    if count is None:
        return "–"
    for size, letter in ((1_000_000_000, "G"), (1_000_000, "M")):
        if count >= 10 * size:
            return f"{count / size:,.0f}{letter}"
        if count >= size:
            return f"{count / size:.1f}{letter}"
    return f"{count:,}" if count < 100_000 else f"{count / 1000:.0f}k"


def millis(value: float | None) -> str:
    """Milliseconds in a few letters, with the unit."""
    if value is None:
        return "–"
    if value >= 10_000:
        return f"{value / 1000:.0f}s"
    if value >= 1000:
        return f"{value / 1000:.1f}s"
    return f"{value:.0f}ms" if value >= 10 or value == int(value) else f"{value:.2g}ms"


def heading() -> str:
    """The heading of lists of exchanges."""
    return "  ".join(name.ljust(width) for name, width in WIDTHS.items()).rstrip()


def line_of(row: Mapping[str, Any], form: str) -> str:
    """One exchange as a line: of a table, or of JSON."""
    if form == "json":
        from aibridge.records.exporting import json_line

        return json_line(row).rstrip("\n")
    started = row["started_at"]
    values = {
        "time (UTC)": f"{started:%m-%d %H:%M:%S}" if started else "–",
        "id": row["id"][: WIDTHS["id"]],  # as much as `usage show` needs
        "status": row["status"],
        "model": row["model"] or "–",
        "tokens": f"{short(row['input'] + row['cache_read'] + row['cache_write'])}→{short(row['output'])}",
        "cost": dollars(row["cost_micros"]),
    }
    line = "  ".join(_fit(printable(values[name]), width) for name, width in WIDTHS.items())
    wrong = row["error_code"]
    return f"{line}  {printable(wrong)}".rstrip() if wrong else line.rstrip()


def _fit(text: str, width: int) -> str:
    return text[: width - 1] + "…" if len(text) > width else text.ljust(width)
