"""What aibridge shall reach, and whether it does: every line of numbers that the project has set itself.

Each goal is a ratio or a difference within one run. `must` is the least, `aim` what it is built for. Where a
bare relay can do the same work, the goal can be asked of it too: it tells what the stack allows.
"""

from collections.abc import Callable
from dataclasses import dataclass

from bench.samples import (
    Metric,
    Results,
    cpu_a_request,
    cpu_an_event,
    delay,
    events_a_second,
    first,
    latency,
    memory,
    requests_a_second,
)

Value = Callable[[Results, str], float | None]
"""Of a contender."""
P50 = latency("p50")


@dataclass(frozen=True, slots=True)
class Goal:
    """One number; `more` says that a larger one is better, `relayed` that a bare relay has it too."""

    what: str
    must: float | None
    aim: float | None
    unit: str
    value: Value
    more: bool = False
    relayed: bool = True

    def verdict(self, value: float | None) -> str:
        """In one word."""
        if value is None or self.must is None or self.aim is None:
            return "not measured"
        reached = [value >= wanted if self.more else value <= wanted for wanted in (self.must, self.aim)]
        return "aim" if all(reached) else "must" if reached[0] else "no"


def _added(work: str, metric: Metric = P50, base: str = "direct") -> Value:
    return lambda results, who: results.added(who, base, work, metric)


def _against(base: str, work: str, metric: Metric) -> Value:
    return lambda results, who: results.ratio(who, base, work, metric)


def _unused_tools(results: Results, who: str) -> float | None:
    return results.added(f"{who}-tools-20", who, "plain1", P50)


def _long(results: Results, who: str) -> float | None:
    """What an 80 KB conversation adds beyond what a short one adds."""
    long, short = _added("long1")(results, who), _added("plain1")(results, who)
    return None if long is None or short is None else long - short


def _hidden(results: Results, who: str) -> float | None:
    """Milliseconds that a hidden round takes beyond two upstream requests and the bare call."""
    whole = results.median(f"{who}-tools-1", "hidden1", P50)
    direct = results.median("direct", "plain1", P50)
    if whole is None or direct is None or not results.bare_calls_us:
        return None
    call = sorted(results.bare_calls_us)[len(results.bare_calls_us) // 2]
    return (whole - 2 * direct - call) / 1000


def _slowest(results: Results, who: str) -> float | None:
    """Milliseconds of delay that 99 of 100 events stay below, added to the direct way's."""
    added = results.added(who, "direct", "paced500", delay("p99"))
    return None if added is None else added / 1000


def _grown(small: tuple[str, str], large: tuple[str, str], metric: Metric) -> Value:
    """The median of `large` divided by that of `small`, each what follows the contender's name and a work."""

    def value(results: Results, who: str) -> float | None:
        of_small, of_large = (results.median(who + name, work, metric) for name, work in (small, large))
        return of_large / of_small if of_small and of_large else None

    return value


def _elsewhere(_results: Results, _who: str) -> None:
    """Not by this kit."""


GOALS = (
    Goal(
        "64 connections, requests/s against nginx",
        *(0.15, 0.25, "×"),
        _against("nginx", "plain64", requests_a_second),
        more=True,
    ),
    Goal(
        "the same against LiteLLM",
        *(100, 200, "×"),
        _against("litellm", "plain64", requests_a_second),
        more=True,
    ),
    Goal(
        "the same against Portkey",
        *(15, 25, "×"),
        _against("portkey", "plain64", requests_a_second),
        more=True,
    ),
    Goal(
        "bursts of 256 events, 32 connections, events/s against nginx",
        *(0.45, 0.8, "×"),
        _against("nginx", "burst32", events_a_second),
        more=True,
    ),
    Goal(
        "100 paced streams, CPU per event against nginx",
        *(2.6, 1.8, "×"),
        _against("nginx", "paced100", cpu_an_event),
    ),
    Goal(
        "100 paced streams, p50 delay against nginx",
        *(2.5, 1.4, "×"),
        _against("nginx", "paced100", delay("p50")),
    ),
    Goal(
        "500 paced streams, events that pass against direct",
        *(0.98, 0.995, "×"),
        _against("direct", "paced500", events_a_second),
        more=True,
    ),
    Goal("500 paced streams, added p99 delay", 60, 15, "ms", _slowest),
    Goal("one request at a time, added p50", 350, 200, "µs", _added("plain1")),
    Goal("20 injected tools that are not used, on top", 100, 40, "µs", _unused_tools, relayed=False),
    Goal("an 80 KB conversation, on top", 400, 150, "µs", _long),
    Goal("a hidden round beyond two requests and the bare call", 2, 0.8, "ms", _hidden, relayed=False),
    Goal("first event of a stream, added p50", 400, 150, "µs", _added("first1", first("p50"))),
    Goal(
        "memory with 1000 open streams",
        *(200, 130, "MB"),
        lambda results, who: results.median(who, "open1000", memory),
    ),
    Goal("start until /readyz answers 200", 2.0, 1.0, "s", lambda results, who: results.startup(who)),
    Goal(
        "two workers against one",
        *(1.7, 1.9, "×"),
        lambda results, who: results.ratio(
            f"{who}-2-workers", f"{who}-1-worker", "plain64", requests_a_second
        ),
        more=True,
        relayed=False,
    ),
    Goal(
        "CPU per request with 1000 earlier messages against 100 (10 is linear)",
        *(10, 10, "×"),
        _grown(("", "earlier100"), ("", "earlier1000"), cpu_a_request),
        relayed=False,
    ),
    Goal(
        "CPU per request with 128 injected tools against 20 (6.4 is linear)",
        *(6.4, 6.4, "×"),
        _grown(("-tools-20", "plain1"), ("-tools-128", "plain1"), cpu_a_request),
        relayed=False,
    ),
    Goal(
        "memory with 2000 open streams against 1000 (2 is linear)",
        *(2, 2, "×"),
        _grown(("", "open1000"), ("", "open2000"), memory),
        relayed=False,
    ),
    Goal(
        "flat over half an hour of mixed load: `make soak`, not this kit",
        *(None, None, ""),
        _elsewhere,
        relayed=False,
    ),
)
