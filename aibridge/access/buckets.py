"""The arithmetic of limits a minute: buckets that fill as time goes by. Pure; `limits.lua` says the same.

A bucket holds a minute's worth. What is taken before may be more than there is where the bucket is full, so
that a request larger than a minute's worth passes at all; what turns out later may leave a debt, of a
minute's worth at most.
"""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

MINUTE = 60.0
What = Literal["requests", "tokens", "concurrency"]


class Limits(NamedTuple):
    """What a key may do; None is without limit."""

    rpm: int | None = None
    tpm: int | None = None
    concurrency: int | None = None

    @property
    def any(self) -> bool:
        """Whether there is something to count."""
        return self != UNLIMITED


UNLIMITED = Limits()


class Verdict(NamedTuple):
    """What a limiter says to a request: admitted where `refused` is None."""

    refused: What | None
    wait: float
    """Seconds after which it may pass, where it was refused."""
    requests_left: float = 0.0
    tokens_left: float = 0.0


@dataclass(slots=True)
class Bucket:
    """What is left of a minute's worth; None before its first use."""

    left: float | None = None
    at: float = 0.0

    def fill(self, size: int, now: float) -> float:
        """What is there at `now`, in seconds of any clock; one that goes back fills nothing."""
        if self.left is None:
            self.left, self.at = float(size), now
        gained = max(0.0, now - self.at) * size / MINUTE
        self.left = min(float(size), self.left + gained)
        self.at = now
        return self.left

    def lacks(self, amount: float, size: int) -> float:
        """Seconds until `amount` is there; 0 where it is."""
        assert self.left is not None, "fill it first"
        return max(0.0, min(amount, size) - self.left) * MINUTE / size

    def take(self, amount: float, size: int) -> None:
        """Take `amount`, or put it back where it is negative."""
        assert self.left is not None, "fill it first"
        self.left = min(float(size), max(-float(size), self.left - amount))


@dataclass(slots=True)
class Book:
    """What one key did lately."""

    requests: Bucket = field(default_factory=Bucket)
    tokens: Bucket = field(default_factory=Bucket)
    running: set[str] = field(default_factory=set)
    """Leases that were not given back."""

    def admit(self, limits: Limits, tokens: float, lease: str, now: float) -> Verdict:
        """Take a request of `tokens` as `lease`, or nothing at all."""
        waits: list[tuple[float, What]] = []
        if limits.rpm is not None:
            self.requests.fill(limits.rpm, now)
            waits.append((self.requests.lacks(1, limits.rpm), "requests"))
        if limits.tpm is not None:
            self.tokens.fill(limits.tpm, now)
            waits.append((self.tokens.lacks(tokens, limits.tpm), "tokens"))
        if limits.concurrency is not None:
            waits.append((1.0 if len(self.running) >= limits.concurrency else 0.0, "concurrency"))
        wait, what = max(waits, default=(0.0, "requests"))
        if wait > 0:
            return self._verdict(what, wait)
        if limits.rpm is not None:
            self.requests.take(1, limits.rpm)
        if limits.tpm is not None:
            self.tokens.take(tokens, limits.tpm)
        if limits.concurrency is not None:
            self.running.add(lease)
        return self._verdict(None, 0.0)

    def settle(self, limits: Limits, more: float, lease: str, now: float) -> None:
        """Give `lease` back; `more` tokens were used than were taken, or fewer."""
        self.running.discard(lease)
        if limits.tpm is not None:
            self.tokens.fill(limits.tpm, now)
            self.tokens.take(more, limits.tpm)

    def _verdict(self, refused: What | None, wait: float) -> Verdict:
        return Verdict(refused, wait, self.requests.left or 0.0, self.tokens.left or 0.0)
