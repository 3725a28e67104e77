"""Whether a model of an upstream is asked at all: after many failures it gets a pause, then one probe.

Closed: everything passes. Open, once `ENOUGH` requests failed within `WINDOW` and at least half of those
since the first of them: nothing passes until the pause is over. Half-open: one request passes and decides;
another failure doubles the pause. What counts as a failure (5xx, no connection, a clock; never a 4xx) is
left to `attempts`. While nothing fails there is no state and next to no cost.
"""

import time
from collections.abc import Callable
from typing import Any, Literal

import structlog

log = structlog.get_logger(__name__)
ENOUGH = 5
WINDOW = 30.0
"""Seconds."""
LONGEST_PAUSE = 60.0
MOST = 1000
"""Models that are watched: their names come from callers."""
State = Literal["closed", "open", "half-open"]


class Breaker:
    """One model."""

    def __init__(self, pause: float, clock: Callable[[], float]) -> None:
        self._clock, self._first_pause = clock, pause
        self._since = clock()
        self._failures = self._passes = self._opened = 0
        self._until: float | None = None
        self._probe: float | None = None
        """When the probe that is underway began."""
        self.reason = ""
        """How the last failure went."""

    @property
    def state(self) -> State:
        """For `/readyz` and metrics."""
        if self._until is None:
            return "closed"
        return "open" if self._clock() < self._until else "half-open"

    @property
    def pause(self) -> float:
        """Seconds that it stays open, by how often it opened in a row."""
        longest = max(LONGEST_PAUSE, self._first_pause)
        return min(longest, self._first_pause * 2.0 ** min(self._opened - 1, 30))

    def admit(self) -> float:
        """Zero where a request may pass, which has to be told how it went; else the seconds to wait."""
        if self._until is None:
            return 0.0
        now = self._clock()
        if now < self._until:
            return self._until - now
        if self._probe is not None and now < self._probe + self.pause:
            return self._probe + self.pause - now  # a probe that takes longer is not waited for
        self._probe = now
        return 0.0

    def passed(self) -> bool:
        """A request was answered; True where that leaves nothing to remember."""
        if self._until is not None:
            self._until = self._probe = None
            return True
        self._passes += 1
        return self._clock() > self._since + WINDOW

    def failed(self, reason: str) -> bool:
        """A request failed; True where that opened it."""
        self.reason, now = reason, self._clock()
        if self._until is not None:
            if now < self._until:
                return False  # one that passed before it opened
            return self._open(now)
        if now > self._since + WINDOW:
            self._since, self._failures, self._passes = now, 0, 0
        self._failures += 1
        return self._failures >= ENOUGH and self._failures >= self._passes and self._open(now)

    def undecided(self) -> None:
        """A request ended without a word of the upstream: the client left."""
        self._probe = None

    def _open(self, now: float) -> bool:
        self._opened += 1
        self._until, self._probe = now + self.pause, None
        return True

    def told(self) -> dict[str, Any]:
        """For `/readyz`."""
        wait = max(0.0, (self._until or 0.0) - self._clock())
        return {"state": self.state, "seconds": round(wait, 1), "reason": self.reason}


class Breakers:
    """The models of one upstream; `pause` in seconds, None where none is ever given one."""

    def __init__(
        self, upstream: str, pause: float | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._upstream, self._pause, self._clock = upstream, pause, clock
        self._of: dict[str, Breaker] = {}

    def of(self, model: str) -> Breaker | None:
        """The breaker of a model of which something failed lately."""
        return self._of.get(model)

    def passed(self, model: str) -> None:
        """A request for `model` was answered."""
        breaker = self._of.get(model)
        if breaker is None:
            return
        if breaker.state != "closed":
            log.info("an upstream answers again", upstream=self._upstream, model=model)
        if breaker.passed():
            del self._of[model]

    def failed(self, model: str, reason: str) -> None:
        """A request for `model` failed."""
        if self._pause is None:
            return
        breaker = self._of.get(model)
        if breaker is None:
            if len(self._of) >= MOST:
                del self._of[next(iter(self._of))]
            breaker = self._of[model] = Breaker(self._pause, self._clock)
        if breaker.failed(reason):
            log.warning(
                "an upstream keeps failing and gets a pause",
                upstream=self._upstream,
                model=model,
                seconds=breaker.pause,
                reason=reason,
            )

    def undecided(self, model: str) -> None:
        """A request for `model` ended without a word of the upstream."""
        if breaker := self._of.get(model):
            breaker.undecided()

    def told(self) -> dict[str, dict[str, Any]]:
        """The models of which something failed lately, for `/readyz` and metrics."""
        return {model: breaker.told() for model, breaker in self._of.items()}
