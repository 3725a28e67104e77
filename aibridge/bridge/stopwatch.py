"""Where the time of an exchange goes: to the upstream, to tools, to the client, or to aibridge itself."""

import time
from typing import Literal

Phase = Literal["own", "upstream", "tools", "client"]


class Stopwatch:
    """Counts the seconds of one phase at a time."""

    def __init__(self) -> None:
        self._spent: dict[Phase, float] = {"own": 0.0, "upstream": 0.0, "tools": 0.0, "client": 0.0}
        self._phase: Phase = "own"
        self._began = self._since = time.perf_counter()

    def to(self, phase: Phase) -> None:
        """From now on time counts for `phase`."""
        now = time.perf_counter()
        self._spent[self._phase] += now - self._since
        self._phase, self._since = phase, now

    def moves(self, seconds: float, source: Phase, target: Phase) -> None:
        """`seconds` that were counted for `source` belong to `target`."""
        self._spent[source] -= seconds
        self._spent[target] += seconds

    def millis(self, phase: Phase) -> float:
        """Milliseconds spent in `phase` until the last change."""
        return self._spent[phase] * 1000

    def elapsed(self) -> int:
        """Whole milliseconds since the beginning."""
        return round((time.perf_counter() - self._began) * 1000)
