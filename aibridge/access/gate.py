"""Lets a caller's request in or refuses it, and settles afterwards what it really used.

Hears the facts that the records hear: so what is charged is what is recorded, cancelled and failed work too.
"""

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from secrets import token_hex

import structlog

from aibridge.access.buckets import Limits, Verdict
from aibridge.access.key import Key
from aibridge.access.keyring import Keyring
from aibridge.access.limiter import Limiter
from aibridge.access.ports import Price
from aibridge.access.spending import Spending
from aibridge.errors import BridgeError, Kind
from aibridge.facts import ExchangeEnded, ExchangeStarted, Fact, RoundEnded
from aibridge.nouns import Caller, Usage

Headers = tuple[tuple[bytes, bytes], ...]
BYTES_PER_TOKEN = 4
"""Of a request, before its tokens are known."""
MOST_EXCHANGES = 100_000
NO_RETRY = ((b"x-should-retry", b"false"),)

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Running:
    """An exchange of a key, and the tokens that it used so far."""

    key: Key
    started_at: float
    tokens: int = 0


class Lease:
    """A request that was let in. It ends with its exchange, before the client sees that, or by `release`."""

    __slots__ = ("_estimate", "_gate", "_id", "_key", "_limits", "_open", "headers")

    def __init__(self, gate: "Gate", key: Key, limits: Limits, lease: str, estimate: int) -> None:
        self._gate, self._key, self._limits, self._id, self._estimate = gate, key, limits, lease, estimate
        self._open = True
        self.headers: Headers = ()
        """For the answer: what is left."""

    def serves(self, exchange_id: str) -> None:
        """The exchange that it was let in for."""
        self._gate.expect(exchange_id, self)

    def release(self, used: int = 0) -> None:
        """The request has ended, with `used` tokens; never waits or raises, and counts once."""
        if self._open and self._limits.any:
            self._gate.limiter.settle(self._key.id, self._limits, used - self._estimate, self._id)
        self._open = False


class Gate:
    """Where every request of a key passes; it is the listener of facts too."""

    def __init__(self, keyring: Keyring, limiter: Limiter, spending: Spending, price: Price) -> None:
        self.limiter = limiter
        self._keyring, self._spending, self._price = keyring, spending, price
        self._running: OrderedDict[str, _Running] = OrderedDict()
        self._leases: OrderedDict[str, Lease] = OrderedDict()
        self._numbers, self._mine = count(), token_hex(6)

    async def admit(self, caller: Caller, size: int) -> Lease | None:
        """Let in a request of `size` bytes; None where the caller has no key, and so no limits.

        Raises BridgeError: 429 with when to come again, 503 where the limits cannot be checked.
        """
        key = self._keyring.get(caller.key_id) if caller.key_id is not None else None
        if key is None:
            return None
        await self._check_budget(key)
        rules = key.rules
        limits = Limits(rules.rpm, rules.tpm, rules.concurrency)
        estimate = math.ceil(size / BYTES_PER_TOKEN) if limits.tpm is not None else 0
        lease = Lease(self, key, limits, f"{self._mine}-{next(self._numbers)}", estimate)
        if limits.any:
            verdict = await self.limiter.admit(key.id, limits, estimate, lease._id)
            lease.headers = tuple(_headers(limits, verdict))
            if verdict.refused is not None:
                raise _refusal(key, limits, verdict, lease.headers)
        return lease

    def hear(self, fact: Fact) -> None:
        """A fact of an exchange; never waits or raises."""
        try:
            self._hear(fact)
        except Exception:  # a charge that fails is no reason to break an answer
            log.exception("what an exchange used could not be charged", exchange=fact.exchange_id)

    def expect(self, exchange_id: str, lease: Lease) -> None:
        """`lease` ends with this exchange."""
        self._leases[exchange_id] = lease
        while len(self._leases) > MOST_EXCHANGES:
            self._leases.popitem(last=False)

    async def _check_budget(self, key: Key) -> None:
        budget = key.rules.budget_micros
        if budget is None or await self._spending.spent(key) < budget:
            return
        again = math.ceil(self._spending.left(key))
        budget_told = f"the budget of the key '{key.name}' ({key.rules.budget}) is spent"
        sentence = f"{budget_told}; it begins anew in {_span(again)}"
        raise BridgeError(
            Kind.BUDGET_EXCEEDED, sentence, retry_after=again, headers=NO_RETRY, reason="budget"
        )

    def _hear(self, fact: Fact) -> None:
        match fact:
            case ExchangeStarted(caller=Caller(key_id=str(key_id))):
                if (key := self._keyring.get(key_id)) is not None:
                    self._running[fact.exchange_id] = _Running(key, fact.started_at)
                    while len(self._running) > MOST_EXCHANGES:
                        self._running.popitem(last=False)
            case RoundEnded():
                if (running := self._running.get(fact.exchange_id)) is not None:
                    running.tokens += _tokens(fact.usage)
                    if running.key.rules.budget is not None:
                        self._spending.charge(running.key, running.started_at, self._price(fact))
            case ExchangeEnded():
                running = self._running.pop(fact.exchange_id, None)
                if (lease := self._leases.pop(fact.exchange_id, None)) is not None:
                    lease.release(0 if running is None else running.tokens)


def _tokens(usage: Usage) -> int:
    """As providers count them for their own limits: cache reads aside."""
    return usage.input + usage.cache_write + usage.output


def _refusal(key: Key, limits: Limits, verdict: Verdict, headers: Headers) -> BridgeError:
    again = max(1, math.ceil(verdict.wait))
    allowed = {
        "requests": f"{limits.rpm} requests a minute",
        "tokens": f"{limits.tpm} tokens a minute",
        "concurrency": f"{limits.concurrency} requests at a time",
    }[verdict.refused or "requests"]
    sentence = f"the key '{key.name}' may make {allowed}; try again in {again} s"
    reason = verdict.refused or ""
    return BridgeError(Kind.RATE_LIMITED, sentence, retry_after=again, headers=headers, reason=reason)


def _headers(limits: Limits, verdict: Verdict) -> Sequence[tuple[bytes, bytes]]:
    """OpenAI's names for what is left."""
    told: list[tuple[bytes, bytes]] = []
    for name, size, left in (
        ("requests", limits.rpm, verdict.requests_left),
        ("tokens", limits.tpm, verdict.tokens_left),
    ):
        if size is not None:
            full = (size - left) * 60 / size
            told.append((f"x-ratelimit-limit-{name}".encode(), str(size).encode()))
            told.append((f"x-ratelimit-remaining-{name}".encode(), str(max(0, math.floor(left))).encode()))
            told.append((f"x-ratelimit-reset-{name}".encode(), _reset(max(0.0, full)).encode()))
    return told


def _reset(seconds: float) -> str:
    """As OpenAI writes it: `120ms`, `7.66s`, `1m30s`."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    if seconds < 60:
        return f"{seconds:.2f}".rstrip("0").rstrip(".") + "s"
    return f"{int(seconds // 60)}m{math.ceil(seconds % 60)}s"


def _span(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{round(seconds / size)} {unit}"
    return f"{seconds:.0f} seconds"
