"""Whether and when a request is asked again: by status, by what the upstream says, and by a budget.

Pure but for the budget's clock. What OpenAI's SDKs do (408, 409, 429, 5xx; `x-should-retry`,
`retry-after-ms`, `retry-after`), with waits that a client does not notice.
"""

import random
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

AGAIN = frozenset({408, 409, 429})
FIRST_WAIT = 0.25
"""Seconds; doubled with every retry, and cut by up to half at random: callers shall not return together."""
LONGEST_WAIT = 5.0
"""Seconds that are sat out; a longer wait is the client's, which sees what the upstream said."""
SHARE = 0.2
"""Retries that each request pays for: at most so many of all requests are retries."""
RESERVE = 10.0
"""Retries that are saved up at most, so that the first failures of a quiet upstream are retried."""
TRICKLE = 0.1
"""Retries that a second pays for, whatever the traffic."""
Headers = Sequence[tuple[bytes, bytes]]


def worth_retrying(status: int, headers: Headers) -> bool:
    """Whether the same request may be answered better soon."""
    told = _header(headers, b"x-should-retry")
    if told in (b"true", b"false"):
        return told == b"true"
    return status in AGAIN or status >= 500


def told_wait(headers: Headers) -> float | None:
    """The seconds that the upstream asks to wait; None where it does not say."""
    millis = _number(_header(headers, b"retry-after-ms"))
    if millis is not None:
        return max(0.0, millis / 1000)
    value = _header(headers, b"retry-after")
    seconds = _number(value)
    if seconds is not None:
        return max(0.0, seconds)
    try:
        at = parsedate_to_datetime((value or b"").decode("latin-1"))
    except (ValueError, OverflowError):  # the latter for years and zones of many digits
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())


def wait_before(retry: int, headers: Headers = ()) -> float:
    """Seconds before the retry number `retry`, from 1: as told, else longer each time."""
    return told_wait(headers) or FIRST_WAIT * 2 ** (retry - 1) * random.uniform(0.5, 1.0)


class Budget:
    """How many retries an upstream still gets: a failing one must not be hammered by all its callers."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._at = clock, clock()
        self._left = RESERVE

    def earn(self) -> None:
        """A request was sent."""
        self._left = min(RESERVE, self._left + SHARE)

    def spend(self) -> bool:
        """Take one retry; False where there is none."""
        now = self._clock()
        self._left = min(RESERVE, self._left + (now - self._at) * TRICKLE)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


def _header(headers: Headers, name: bytes) -> bytes | None:
    return next((value.strip().lower() for key, value in headers if key.lower() == name), None)


def _number(value: bytes | None) -> float | None:
    try:
        number = float(value or b"")
    except ValueError:
        return None
    return number if number == number and abs(number) != float("inf") else None
