"""How one server has been: since when it is connected, how often it came back, its calls and their times."""

import math
import time
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Self

REMEMBERED = 512
"""Calls whose times are remembered."""


class Vitals:
    """Counts what happens to one server; times are told in milliseconds, of its last 512 calls."""

    def __init__(self) -> None:
        self.restarts = self.calls = self.failed = 0
        self.running = 0
        """Calls that did not end yet."""
        self.last_error: str | None = None
        """The last sentence of why it was not connected, also after it came back."""
        self._came_before = False
        self._since: float | None = None
        self._took: deque[float] = deque(maxlen=REMEMBERED)

    def came(self) -> None:
        """It is connected."""
        self.restarts += self._came_before
        self._came_before = True
        self._since = time.time()

    def left(self, error: str | None) -> None:
        """It is not connected any more, or still not."""
        self._since = None
        self.last_error = error or self.last_error

    def called(self, seconds: float, *, well: bool) -> None:
        """A running call ended: with an answer of the tool, or with none."""
        self.running -= 1
        self.calls += 1
        self.failed += not well
        self._took.append(seconds)

    def told(self) -> dict[str, Any]:
        """For `/readyz`; `restarts` are connections after the first one."""
        since = None if self._since is None else datetime.fromtimestamp(self._since, UTC)
        return {
            "connected_since": since and since.isoformat(timespec="seconds"),
            "restarts": self.restarts,
            "last_error": self.last_error,
            "calls": self.calls,
            "failed_calls": self.failed,
            "p50_ms": self._quantile(0.5),
            "p99_ms": self._quantile(0.99),
        }

    @classmethod
    def sum(cls, several: Sequence["Vitals"]) -> Self:
        """Those of several connections to one server as one: connected since the oldest that still is."""
        whole = cls()
        for each in several:
            whole.restarts += each.restarts
            whole.calls += each.calls
            whole.failed += each.failed
            whole.last_error = each.last_error or whole.last_error
            whole._took.extend(each._took)
        whole._since = min((each._since for each in several if each._since is not None), default=None)
        return whole

    def _quantile(self, share: float) -> float | None:
        """The time that `share` of the remembered calls did not exceed."""
        if not self._took:
            return None
        times = sorted(self._took)
        return round(times[max(0, math.ceil(share * len(times)) - 1)] * 1000, 1)
