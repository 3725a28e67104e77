"""The exchanges for Prometheus, from the facts that the records hear, so that both say the same.

Values of labels that come from outside (models, clients, tools) are bounded: those that come after the
first hundred are told as `other`. What is passed through is told as the api `passthrough`.
"""

from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from aibridge.facts import CallEnded, ExchangeEnded, ExchangeStarted, Fact, RoundEnded

MOST_VALUES = 100
OTHER = "other"
LONG = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
SHORT = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 1)
"""Seconds: of whole exchanges, and of aibridge's own share of them."""
TOKENS = ("input", "cache_read", "cache_write", "output", "reasoning")
Price = Callable[[RoundEnded], int]


class Bounded:
    """The values of one label."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def __call__(self, value: str | None) -> str:
        """`value`, or `other` where there are too many already."""
        if not value or value in self._known:
            return value or ""
        if len(self._known) >= MOST_VALUES:
            return OTHER
        self._known.add(value)
        return value


class Exchanges(Collector):
    """A listener that counts, and gives what it counted."""

    def __init__(self, price: Price) -> None:
        """`price`: micro-dollars of a round, as the records price it."""
        self._price = price
        self._model, self._client, self._tool = Bounded(), Bounded(), Bounded()
        self._running: dict[str, ExchangeStarted] = {}
        where = ("api", "upstream", "model")
        self._exchanges = _counter("exchanges", "Exchanges that ended.", *where, "client", "status")
        self._rounds = _counter("rounds", "Upstream rounds that gave an answer.", "upstream", "model")
        self._tokens = _counter("tokens", "Tokens; reasoning is part of output.", "upstream", "model", "type")
        self._cost = _counter(
            "cost_dollars", "What rounds cost, where a price is known.", "upstream", "model"
        )
        self._calls = _counter("tool_calls", "Injected calls.", "server", "tool", "status")
        self._relayed = _counter("relayed_calls", "Calls of clients' own tools.")
        self._in_flight = Gauge("aibridge_in_flight", "Exchanges that run.", ("api",), registry=None)
        self._duration = _histogram("exchange_seconds", "Whole exchanges.", LONG, "api", "upstream")
        self._first = _histogram(
            "first_byte_seconds", "Until the client's first byte.", LONG, "api", "upstream"
        )
        self._own = _histogram("overhead_seconds", "What aibridge itself took.", SHORT, "api")
        self._of_calls = _histogram("tool_call_seconds", "Injected calls.", LONG, "server")
        self._children: dict[tuple[Any, ...], Any] = {}
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
        for metric in vars(self).values():
            if isinstance(metric, Counter | Gauge | Histogram):
                yield from metric.collect()

    def _started(self, fact: ExchangeStarted) -> None:
        self._running[fact.exchange_id] = fact
        self._at(self._in_flight, fact.api).inc()

    def _round(self, fact: RoundEnded) -> None:
        where = fact.upstream or "", self._model(fact.asked)
        self._at(self._rounds, *where).inc()
        for kind in TOKENS:
            if count := getattr(fact.usage, kind):
                self._at(self._tokens, *where, kind).inc(count)
        if micros := self._price(fact):
            self._at(self._cost, *where).inc(micros / 1_000_000)

    def _call(self, fact: CallEnded) -> None:
        if not fact.injected:
            self._relayed.inc()
            return
        server = fact.server or ""
        self._at(self._calls, server, self._tool(fact.tool), fact.status).inc()
        self._at(self._of_calls, server).observe(fact.duration_ms / 1000)

    def _ended(self, fact: ExchangeEnded) -> None:
        began = self._running.pop(fact.exchange_id, None)
        if began is None:
            return
        api, upstream = began.api, fact.upstream or began.upstream
        self._at(self._in_flight, api).dec()
        names = self._model(began.model), self._client(began.caller.client)
        self._at(self._exchanges, api, upstream, *names, fact.status).inc()
        self._at(self._duration, api, upstream).observe(max(0.0, fact.ended_at - began.started_at))
        if fact.first_byte_ms is not None:
            self._at(self._first, api, upstream).observe(fact.first_byte_ms / 1000)
        self._at(self._own, api).observe(fact.overhead_ms / 1000)

    def _at(self, metric: Any, *labels: str) -> Any:
        """The child with `labels`: looked up once, since prometheus_client checks them each time."""
        key = (metric, *labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(*labels)
        return child


def _counter(name: str, says: str, *labels: str) -> Counter:
    return Counter(f"aibridge_{name}", says, labels, registry=None)


def _histogram(name: str, says: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
    return Histogram(f"aibridge_{name}", says, labels, registry=None, buckets=buckets)
