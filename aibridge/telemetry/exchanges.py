"""The exchanges for Prometheus, from the facts that the records hear, so that both say the same.

Facts are counted as they come in plain numbers, a scrape makes metrics of them: prometheus_client's own
counters cost ten times as much, on the path of every request. Values of labels that come from outside
(models, clients, tools) are bounded: those that come after the first hundred are told as `other`. What is
passed through is told as the api `passthrough`.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from aibridge.facts import CallEnded, ExchangeEnded, ExchangeStarted, Fact, RoundEnded
from aibridge.telemetry.encodable import encodable

MOST_VALUES = 100
OTHER = "other"
LONG = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
SHORT = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 1.0)
"""Seconds: of whole exchanges, and of aibridge's own share of them."""
TOKENS = ("input", "cache_read", "cache_write", "output", "reasoning")
WHERE = ("upstream", "model")
EXCHANGE = ("api", *WHERE, "client", "status")
CALL = ("server", "tool", "status")
Price = Callable[[RoundEnded], int]
Labels = tuple[str, ...]


class Bounded:
    """The values of one label."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def __call__(self, value: str | None) -> str:
        """`value` as it can be written, or `other` where there are too many already."""
        if not value or value in self._known:
            return value or ""
        value = encodable(value)
        if len(self._known) >= MOST_VALUES:
            return value if value in self._known else OTHER
        self._known.add(value)
        return value


class Times:
    """Durations by labels, for a histogram of `buckets` in seconds."""

    def __init__(self, buckets: Sequence[float]) -> None:
        self._buckets = buckets
        self._found: dict[Labels, tuple[list[int], list[float]]] = {}

    def take(self, seconds: float, *labels: str) -> None:
        """One more."""
        found = self._found.get(labels)
        if found is None:
            found = self._found[labels] = [0] * (len(self._buckets) + 1), [0.0]
        found[0][bisect_left(self._buckets, seconds)] += 1
        found[1][0] += seconds

    def metric(self, name: str, says: str, *names: str) -> Metric:
        """All of them."""
        bounds = [*map(floatToGoString, self._buckets), "+Inf"]
        told = HistogramMetricFamily(f"aibridge_{name}_seconds", says, labels=names)
        for labels, (counts, total) in self._found.items():
            told.add_metric(labels, list(zip(bounds, accumulate(counts), strict=True)), total[0])
        return told


@dataclass(slots=True)
class Rounds:
    """The rounds of one model at one upstream."""

    count: int = 0
    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0
    micros: int = 0


class Exchanges(Collector):
    """A listener that counts, and gives what it counted."""

    def __init__(self, price: Price) -> None:
        """`price`: micro-dollars of a round, as the records price it."""
        self._price = price
        self._model, self._client, self._tool = Bounded(), Bounded(), Bounded()
        self._running: dict[str, ExchangeStarted] = {}
        self._in_flight, self._exchanges, self._calls = Counter[str](), Counter[Labels](), Counter[Labels]()
        self._rounds: dict[Labels, Rounds] = defaultdict(Rounds)
        self._relayed = 0
        self._durations, self._first, self._of_calls, self._own = (
            *(Times(LONG) for _ in range(3)),
            Times(SHORT),
        )
        self._hears: dict[type, Callable[[Any], None]] = {
            ExchangeStarted: self._started,
            RoundEnded: self._round,
            CallEnded: self._call,
            ExchangeEnded: self._ended,
        }

    def __call__(self, fact: Fact) -> None:
        """Hear `fact`."""
        hear = self._hears.get(type(fact))
        if hear is not None:
            hear(fact)

    def collect(self) -> Iterator[Metric]:
        """All that was counted."""
        yield _counted("exchanges", "Exchanges that ended.", self._exchanges, *EXCHANGE)
        rounds = self._rounds
        answered = {where: each.count for where, each in rounds.items()}
        yield _counted("rounds", "Upstream rounds that gave an answer.", answered, *WHERE)
        tokens = {
            (*at, kind): found
            for at, each in rounds.items()
            for kind in TOKENS
            if (found := getattr(each, kind))
        }
        yield _counted("tokens", "Tokens; reasoning is part of output.", tokens, *WHERE, "type")
        costs = {at: each.micros / 1_000_000 for at, each in rounds.items() if each.micros}
        yield _counted("cost_dollars", "What rounds cost, where a price is known.", costs, *WHERE)
        yield _counted("tool_calls", "Injected calls.", self._calls, *CALL)
        yield _counted("relayed_calls", "Calls of clients' own tools.", {(): self._relayed})
        in_flight = GaugeMetricFamily("aibridge_in_flight", "Exchanges that run.", labels=["api"])
        for api, running in self._in_flight.items():
            in_flight.add_metric([api], running)
        yield in_flight
        yield self._durations.metric("exchange", "Whole exchanges.", "api", "upstream")
        yield self._first.metric("first_byte", "Until the client's first byte.", "api", "upstream")
        yield self._own.metric("overhead", "What aibridge itself took.", "api")
        yield self._of_calls.metric("tool_call", "Injected calls.", "server")

    def _started(self, fact: ExchangeStarted) -> None:
        self._running[fact.exchange_id] = fact
        self._in_flight[fact.api] += 1

    def _round(self, fact: RoundEnded) -> None:
        rounds, usage = self._rounds[fact.upstream or "", self._model(fact.asked)], fact.usage
        rounds.count += 1
        rounds.input += usage.input
        rounds.cache_read += usage.cache_read
        rounds.cache_write += usage.cache_write
        rounds.output += usage.output
        rounds.reasoning += usage.reasoning
        rounds.micros += self._price(fact)

    def _call(self, fact: CallEnded) -> None:
        if not fact.injected:
            self._relayed += 1
            return
        server = fact.server or ""
        self._calls[server, self._tool(fact.tool), fact.status] += 1
        self._of_calls.take(fact.duration_ms / 1000, server)

    def _ended(self, fact: ExchangeEnded) -> None:
        began = self._running.pop(fact.exchange_id, None)
        if began is None:
            return
        api, upstream = began.api, fact.upstream or began.upstream
        self._in_flight[api] -= 1
        names = self._model(began.model), self._client(began.caller.client)
        self._exchanges[api, upstream, *names, fact.status] += 1
        self._durations.take(max(0.0, fact.ended_at - began.started_at), api, upstream)
        if fact.first_byte_ms is not None:
            self._first.take(fact.first_byte_ms / 1000, api, upstream)
        self._own.take(fact.overhead_ms / 1000, api)


def _counted(name: str, says: str, counts: Mapping[Labels, float], *labels: str) -> CounterMetricFamily:
    told = CounterMetricFamily(f"aibridge_{name}", says, labels=labels)
    for values, count in counts.items():
        told.add_metric(values, count)
    return told
