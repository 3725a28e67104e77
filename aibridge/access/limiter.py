"""Rates and concurrency of keys, and how they are counted: in Redis for several machines (`redis_limiter`),
in files for the processes of one (`shared_limiter`), or, where neither can be, in the process alone.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import structlog

from aibridge.access.buckets import Book, Limits, Verdict
from aibridge.config import Access

MOST_BOOKS = 100_000

log = structlog.get_logger(__name__)


class Limiter(Protocol):
    """Counts what keys do."""

    async def admit(self, key_id: str, limits: Limits, tokens: float, lease: str) -> Verdict:
        """Take a request of `tokens` as `lease`, or nothing. Raises BridgeError (503) where it cannot say."""
        ...

    def settle(self, key_id: str, limits: Limits, more: float, lease: str) -> None:
        """Give `lease` back, with `more` tokens used than were taken, or fewer; never waits or raises."""
        ...

    def state(self) -> dict[str, Any]:
        """For `/readyz`: `kind`, `state` (`ok`, `failing`), `error`."""
        ...

    async def aclose(self) -> None:
        """Let go of what it holds."""
        ...


class LocalLimiter:
    """Counts in this process alone."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: seconds that only grow."""
        self._clock = clock
        self._books: OrderedDict[str, Book] = OrderedDict()

    async def admit(self, key_id: str, limits: Limits, tokens: float, lease: str) -> Verdict:
        """See Limiter."""
        book = self._books.setdefault(key_id, Book())
        self._books.move_to_end(key_id)
        while len(self._books) > MOST_BOOKS:
            self._books.popitem(last=False)
        return book.admit(limits, tokens, lease, self._clock())

    def settle(self, key_id: str, limits: Limits, more: float, lease: str) -> None:
        """See Limiter."""
        if (book := self._books.get(key_id)) is not None:
            book.settle(limits, more, lease, self._clock())

    def state(self) -> dict[str, Any]:
        """See Limiter."""
        return {"kind": "process", "state": "ok", "error": None}

    async def aclose(self) -> None:
        """Nothing is held."""


def make_limiter(config: Access, shared: Path | None) -> Limiter:
    """What the configuration wants: in Redis, else in the folder `shared`, else in the process."""
    if config.redis is not None:
        from aibridge.access.redis_limiter import RedisLimiter  # noqa: PLC0415 - loads the client

        return RedisLimiter(config.redis.get_secret_value(), config.on_limiter_down)
    if shared is None:
        return LocalLimiter()
    try:
        from aibridge.access.shared_limiter import SharedLimiter  # noqa: PLC0415 - Unix alone has flock

        return SharedLimiter(shared)
    except (ImportError, OSError) as error:
        log.warning("limits are counted by each process alone", error=str(error))
        return LocalLimiter()
