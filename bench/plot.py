"""The results as a picture: `python -m bench.plot RESULTS.json PICTURE.svg`. Needs matplotlib (README.md)."""

import sys
from pathlib import Path

import matplotlib  # type: ignore[import-not-found,unused-ignore]
from matplotlib.figure import Figure  # type: ignore[import-not-found,unused-ignore]

from bench.samples import (
    Metric,
    Results,
    cpu_an_event,
    events_a_second,
    first,
    latency,
    load,
    requests_a_second,
)

PANELS: tuple[tuple[str, str, Metric], ...] = (
    ("plain64", "requests/s, 64 connections", requests_a_second),
    ("burst32", "events/s, bursts, 32 connections", events_a_second),
    ("paced100", "CPU µs per event, 100 paced streams", cpu_an_event),
    ("plain1", "p50 µs, one request at a time", latency("p50")),
    ("first1", "p50 µs to the first event", first("p50")),
    ("long1", "p50 µs, one 80 KB request at a time", latency("p50")),
)
OURS, OTHERS = "#1f6f8b", "#b8b8b8"


def draw(results: Results, picture: Path) -> None:
    """Bars on a logarithmic scale, a panel for each work."""
    matplotlib.rcParams |= {"svg.hashsalt": "aibridge", "svg.fonttype": "none"}  # the same file every time
    figure = Figure(figsize=(13, 6), layout="constrained")
    axes = figure.subplots(2, 3)
    for axis, (work, title, metric) in zip(axes.flat, PANELS, strict=True):
        values = {name: results.median(name, work, metric) for name in results.startups}
        shown = {name: value for name, value in values.items() if value}
        colours = [OURS if name.startswith("aibridge") else OTHERS for name in shown]
        bars = axis.barh(list(shown), list(shown.values()), color=colours)
        axis.bar_label(
            bars,
            labels=[f"{value:,.3g}" if value < 1000 else f"{value:,.0f}" for value in shown.values()],
            padding=3,
        )
        axis.set(title=title, xscale="log")
        axis.margins(x=0.25)
        axis.invert_yaxis()
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(picture, metadata={"Date": None})


if __name__ == "__main__":
    draw(load(Path(sys.argv[1])), Path(sys.argv[2]))
