"""How far it is from nginx to aibridge, over the bare relay between them: which part is Python's."""

from bench.samples import (
    Metric,
    Results,
    cpu_a_request,
    cpu_an_event,
    delay,
    events_a_second,
    first,
    latency,
    requests_a_second,
)

WAY = ("nginx", "relay", "aibridge")
LINES: tuple[tuple[str, str, Metric], ...] = (
    ("64 connections, requests/s", "plain64", requests_a_second),
    ("64 connections, CPU µs/request", "plain64", cpu_a_request),
    ("one request at a time, p50 µs", "plain1", latency("p50")),
    ("one request of 80 KB at a time, p50 µs", "long1", latency("p50")),
    ("first event of a stream, p50 µs", "first1", first("p50")),
    ("bursts, events/s", "burst32", events_a_second),
    ("bursts, CPU µs/event", "burst32", cpu_an_event),
    ("100 paced streams, CPU µs/event", "paced100", cpu_an_event),
    ("100 paced streams, delay p50 µs", "paced100", delay("p50")),
    ("500 paced streams, CPU µs/event", "paced500", cpu_an_event),
)


def rows(results: Results) -> list[tuple[str, list[float | None]]]:
    """What is measured; medians of the three, then relay to nginx, aibridge to relay, aibridge to nginx."""
    steps = ((1, 0), (2, 1), (2, 0))
    found = []
    for what, work, metric in LINES:
        medians = [results.median(name, work, metric) for name in WAY]
        ratios = [results.ratio(WAY[whose], WAY[to], work, metric) for whose, to in steps]
        found.append((what, [*medians, *ratios]))
    return [(what, values) for what, values in found if any(value is not None for value in values)]
