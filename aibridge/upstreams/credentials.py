"""The keys of one upstream: used in turn, those that rest left out, none ever shown whole.

A key rests after a 401, 402 or 403 for a while, after a 429 for as long as the upstream says. Where all
rest the one that wakes first is used all the same: the upstream's own answer says most. What is asked
again with which key is left to `attempts`.
"""

import time
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

import structlog

from aibridge.upstreams.headers import Pairs

log = structlog.get_logger(__name__)
REFUSED = frozenset({401, 402, 403})
"""Statuses that speak of the key, 402 of its account: it has no money left."""
REFUSED_REST = 300.0
"""Seconds: accounts are topped up and keys are allowed again, but not at once."""
BUSY_REST = 10.0
"""Seconds after a 429 that does not say how long."""
LONGEST_REST = 3600.0
SHOWN = 4
"""Characters at the end of a key that its mask shows, as providers' own pages do."""
LONG = 20
"""Characters of a key so long that these four give nothing away."""


class Key:
    """One key of ours, or the place of the caller's own; `headers` are what requests with it carry."""

    def __init__(self, name: str | None, headers: Pairs) -> None:
        self.name, self.headers = name, tuple(headers)
        self.rests_until = 0.0
        self.reason = ""


class Keys:
    """All keys of the upstream `upstream`; without secrets the caller's own credential goes on."""

    def __init__(
        self,
        upstream: str,
        secrets: Sequence[str],
        own: Mapping[str, str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._upstream, self._clock = upstream, clock
        self._keys = [
            Key(_masked(number, secret), _pairs({**own, "authorization": f"Bearer {secret}"}))
            for number, secret in enumerate(secrets, 1)
        ] or [Key(None, _pairs(own))]
        self._ours = bool(secrets)
        self._turn = -1

    def next(self, tried: Container[Key] = ()) -> Key:
        """The key whose turn it is; one of those that were `tried` only where nothing is left."""
        if len(self._keys) == 1:
            return self._keys[0]
        now = self._clock()
        for _ in self._keys:
            self._turn = (self._turn + 1) % len(self._keys)
            key = self._keys[self._turn]
            if key.rests_until <= now and key not in tried:
                return key
        return min(self._keys, key=lambda each: each.rests_until)

    def refused(self, key: Key, status: int, wait: float | None) -> None:
        """The upstream answered `status` to a request with `key`; `wait`: the seconds that it told."""
        if not self._ours:
            return
        if status in REFUSED:
            self._rest(key, REFUSED_REST, f"answered {status}")
        elif status == 429:
            self._rest(key, min(BUSY_REST if wait is None else wait, LONGEST_REST), "answered 429")

    def another(self, tried: Container[Key]) -> bool:
        """True where a key is awake that was not `tried`."""
        now = self._clock()
        return any(key.rests_until <= now and key not in tried for key in self._keys)

    def _rest(self, key: Key, seconds: float, reason: str) -> None:
        awake = key.rests_until <= self._clock()
        key.rests_until, key.reason = self._clock() + seconds, reason
        if awake and seconds:
            log.warning(
                "an API key rests", upstream=self._upstream, key=key.name, reason=reason, seconds=seconds
            )

    def resting(self) -> list[dict[str, Any]]:
        """The keys that rest, for `/readyz`: which, why, and for how many seconds yet."""
        now = self._clock()
        return [
            {"key": key.name, "reason": key.reason, "seconds": round(key.rests_until - now, 1)}
            for key in self._keys
            if key.rests_until > now
        ]


def _masked(number: int, secret: str) -> str:
    """A name for a key in logs and records."""
    return f"key {number} (…{secret[-SHOWN:]})" if len(secret) >= LONG else f"key {number}"


def _pairs(headers: Mapping[str, str]) -> Pairs:
    return [(name.encode(), value.encode()) for name, value in headers.items()]
