"""What aibridge shall reach, and whether it does: what a relay in Python can have, against the limits.

Each goal is a ratio or a difference within one run. `must` is the least, `aim` what it is built for.
"""

from collections.abc import Callable
from dataclasses import dataclass

from bench.samples import (
    Results,
    cpu_an_event,
    delay,
    events_a_second,
    first,
    latency,
    memory,
    requests_a_second,
)

Value = Callable[[Results], float | None]
P50 = latency("p50")


@dataclass(frozen=True, slots=True)
class Goal:
    """One number; `more` says that a larger one is better."""

    what: str
    must: float
    aim: float
    unit: str
    value: Value
    more: bool = False

    def verdict(self, value: float | None) -> str:
        """In one word."""
        if value is None:
            return "not measured"
        reached = [value >= wanted if self.more else value <= wanted for wanted in (self.must, self.aim)]
        return "aim" if all(reached) else "must" if reached[0] else "no"


def _added(work: str, contender: str = "aibridge", base: str = "direct") -> Value:
    return lambda results: results.added(contender, base, work, P50)


def _rate(base: str) -> Value:
    return lambda results: results.ratio("aibridge", base, "plain64", requests_a_second)


def _long(results: Results) -> float | None:
    """What an 80 KB conversation adds beyond what a short one adds."""
    long, short = _added("long1")(results), _added("plain1")(results)
    return None if long is None or short is None else long - short


def _hidden(results: Results) -> float | None:
    """Milliseconds that a hidden round takes beyond two upstream requests and the bare call."""
    whole = results.median("aibridge-tools-1", "hidden1", P50)
    direct = results.median("direct", "plain1", P50)
    if whole is None or direct is None or not results.bare_calls_us:
        return None
    call = sorted(results.bare_calls_us)[len(results.bare_calls_us) // 2]
    return (whole - 2 * direct - call) / 1000


def _slowest(results: Results) -> float | None:
    """Milliseconds of delay that 99 of 100 events stay below, added to the direct way's."""
    added = results.added("aibridge", "direct", "paced500", delay("p99"))
    return None if added is None else added / 1000


GOALS = (
    Goal("64 connections, requests/s against nginx", 0.15, 0.25, "×", _rate("nginx"), more=True),
    Goal("the same against LiteLLM", 100, 200, "×", _rate("litellm"), more=True),
    Goal("the same against Portkey", 15, 25, "×", _rate("portkey"), more=True),
    Goal(
        "bursts of 256 events, 32 connections, events/s against nginx",
        *(0.45, 0.8, "×"),
        lambda results: results.ratio("aibridge", "nginx", "burst32", events_a_second),
        more=True,
    ),
    Goal(
        "100 paced streams, CPU per event against nginx",
        *(2.6, 1.8, "×"),
        lambda results: results.ratio("aibridge", "nginx", "paced100", cpu_an_event),
    ),
    Goal(
        "100 paced streams, p50 delay against nginx",
        *(2.5, 1.4, "×"),
        lambda results: results.ratio("aibridge", "nginx", "paced100", delay("p50")),
    ),
    Goal(
        "500 paced streams, events that pass against direct",
        *(0.98, 0.995, "×"),
        lambda results: results.ratio("aibridge", "direct", "paced500", events_a_second),
        more=True,
    ),
    Goal("500 paced streams, added p99 delay", 60, 15, "ms", _slowest),
    Goal("one request at a time, added p50", 350, 200, "µs", _added("plain1")),
    Goal(
        "20 injected tools that are not used, on top",
        100,
        40,
        "µs",
        _added("plain1", "aibridge-tools-20", "aibridge"),
    ),
    Goal("an 80 KB conversation, on top", 400, 150, "µs", _long),
    Goal("a hidden round beyond two requests and the bare call", 2, 0.8, "ms", _hidden),
    Goal(
        "first event of a stream, added p50",
        *(400, 150, "µs"),
        lambda results: results.added("aibridge", "direct", "first1", first("p50")),
    ),
    Goal(
        "memory with 1000 open streams",
        *(200, 130, "MB"),
        lambda results: results.median("aibridge", "open1000", memory),
    ),
    Goal("start until /readyz answers 200", 2.0, 1.0, "s", lambda results: results.startup("aibridge")),
    Goal(
        "two workers against one",
        *(1.7, 1.9, "×"),
        lambda results: results.ratio(
            "aibridge-2-workers", "aibridge-1-worker", "plain64", requests_a_second
        ),
        more=True,
    ),
)
