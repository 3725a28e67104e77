"""What was measured: samples, and the questions that a report asks of them.

Machines are noisy, so only numbers of one round are compared; what is told is the median over rounds.
"""

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

QUIET = 0.5
"""Cores that others may use during a measurement before it counts as disturbed."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One contender doing one work in one round; quantiles are in microseconds, CPU in seconds."""

    contender: str
    work: str
    round: int
    seconds: float
    requests: int
    events: int
    bytes: int
    open: int
    latency_us: dict[str, int] | None
    first_us: dict[str, int] | None
    delay_us: dict[str, int] | None
    cpu_proxy: float
    cpu_mock: float
    cpu_load: float
    cpu_foreign: float
    memory_kb: int
    errors: int
    error: str

    @property
    def disturbed(self) -> bool:
        """Whether others kept the machine busy meanwhile."""
        return self.cpu_foreign / self.seconds > QUIET

    @property
    def saturated(self) -> bool:
        """Whether the proxy's core had nothing left."""
        return self.cpu_proxy / self.seconds > 0.96


Metric = Callable[[Sample], float | None]


def requests_a_second(sample: Sample) -> float | None:
    """Requests that ended, per second."""
    return sample.requests / sample.seconds or None


def events_a_second(sample: Sample) -> float | None:
    """Events that arrived, per second."""
    return sample.events / sample.seconds or None


def cpu_a_request(sample: Sample) -> float | None:
    """CPU of the proxy, in microseconds."""
    return sample.cpu_proxy * 1e6 / sample.requests if sample.requests and sample.cpu_proxy else None


def cpu_an_event(sample: Sample) -> float | None:
    """CPU of the proxy, in microseconds."""
    return sample.cpu_proxy * 1e6 / sample.events if sample.events and sample.cpu_proxy else None


def memory(sample: Sample) -> float | None:
    """Resident memory of the proxy at the end, in MB."""
    return sample.memory_kb / 1024 or None


def latency(at: str) -> Metric:
    """Of whole requests."""
    return lambda sample: sample.latency_us[at] if sample.latency_us else None


def first(at: str) -> Metric:
    """From the request to its first event."""
    return lambda sample: sample.first_us[at] if sample.first_us else None


def delay(at: str) -> Metric:
    """From the upstream's writing of an event to its arrival."""
    return lambda sample: sample.delay_us[at] if sample.delay_us else None


@dataclass(slots=True)
class Results:
    """Everything of one run."""

    machine: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    startups: dict[str, list[float]] = field(default_factory=dict)
    bare_calls_us: list[float] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)

    def by_round(self, contender: str, work: str) -> dict[int, Sample]:
        """The sample of each round."""
        return {each.round: each for each in self.samples if (each.contender, each.work) == (contender, work)}

    def median(self, contender: str, work: str, metric: Metric) -> float | None:
        """The median over rounds; disturbed ones count only where there are no others."""
        return _median([(metric(each), each.disturbed) for each in self.by_round(contender, work).values()])

    def ratio(self, contender: str, base: str, work: str, metric: Metric) -> float | None:
        """Median over rounds of `contender` divided by `base` in the same round."""
        return self._compared(contender, base, work, metric, lambda mine, other: mine / other)

    def added(self, contender: str, base: str, work: str, metric: Metric) -> float | None:
        """Median over rounds of `contender` less `base` in the same round."""
        return self._compared(contender, base, work, metric, lambda mine, other: mine - other)

    def _compared(
        self, contender: str, base: str, work: str, metric: Metric, how: Callable[[float, float], float]
    ) -> float | None:
        bases = self.by_round(base, work)
        found: list[tuple[float | None, bool]] = []
        for number, sample in self.by_round(contender, work).items():
            if (other := bases.get(number)) and (divisor := metric(other)):
                mine = metric(sample)
                value = None if mine is None else how(mine, divisor)
                found.append((value, sample.disturbed or other.disturbed))
        return _median(found)

    def startup(self, contender: str) -> float | None:
        """Median seconds until the first 200."""
        return statistics.median(self.startups[contender]) if self.startups.get(contender) else None

    def save(self, path: Path) -> None:
        """As JSON, one line a sample."""
        told = asdict(self)
        samples = ",\n".join(json.dumps(each) for each in told.pop("samples"))
        rest = json.dumps(told, indent=1)
        path.write_text(f'{rest[:-2]},\n "samples": [\n{samples}\n]\n}}\n')


def _median(found: Sequence[tuple[float | None, bool]]) -> float | None:
    """Of values and whether each was disturbed."""
    known = [(value, disturbed) for value, disturbed in found if value is not None]
    quiet = [value for value, disturbed in known if not disturbed]
    return statistics.median(quiet or [value for value, _ in known]) if known else None


def load(path: Path) -> Results:
    """What `save` wrote."""
    told: dict[str, Any] = json.loads(path.read_text())
    return Results(**{**told, "samples": [Sample(**each) for each in told["samples"]]})
