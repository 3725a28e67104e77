"""What keys have spent in the running period of their budgets.

This process counts its own exchanges as they end; what others spent, and what was before a restart, is read
from the records, beside the requests. So there is one truth, which is the records', and it is never counted
twice: of this process's own exchanges only its own count is taken.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import structlog

from aibridge import tasks
from aibridge.access.asking import Asking
from aibridge.access.key import Key
from aibridge.access.ports import Shelf

LOOKS_EVERY = 1.0
"""Seconds between two looks at what others spent."""
SHARE = 20
"""A look that took long is followed by a pause this many times as long."""
UNUSED = 300.0
"""Seconds after which a key that makes no requests is no longer looked after."""
PATIENCE = 2.0
"""Seconds that a key's first request waits for what was spent before."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Account:
    """One key's spending, by the beginning of its periods; micro-dollars."""

    key: Key
    own: dict[float, int] = field(default_factory=dict)
    others: int = 0
    others_of: float = -1.0
    """The period that `others` is of; negative before the first look."""
    used: float = 0.0


class Spending:
    """The accounts of the keys that this process serves."""

    def __init__(self, shelf: Shelf, clock: Callable[[], float] = time.time) -> None:
        """`clock`: Unix time in seconds."""
        self._shelf, self._clock = shelf, clock
        self._accounts: dict[str, Account] = {}
        self._looking, self._asking = asyncio.Lock(), Asking(PATIENCE)
        self._task: asyncio.Task[None] | None = None
        self.error: str | None = None
        """Why the last look at the records failed."""

    def start(self) -> None:
        """Look at what others spent, until `aclose`."""
        self._task = tasks.start(self._watch(), "keys:spending")

    async def aclose(self) -> None:
        """Look no more."""
        if self._task is not None:
            await tasks.stop(self._task)

    async def spent(self, key: Key) -> int:
        """Micro-dollars of the running period; the first request of a key waits for the records."""
        now = self._clock()
        account = self._account(key, now)
        began = key.period_began(now)
        if account.others_of < 0:
            async with self._looking:
                if account.others_of < 0:
                    await self._look(account, began)
        others = account.others if account.others_of == began else 0
        return account.own.get(began, 0) + others

    def charge(self, key: Key, started_at: float, micros: int) -> None:
        """An exchange that began at `started_at` used `micros` more."""
        account = self._account(key, self._clock())
        began = key.period_began(started_at)
        account.own[began] = account.own.get(began, 0) + micros

    def left(self, key: Key) -> float:
        """Seconds until the next period of the key's budget begins."""
        now = self._clock()
        return key.period_began(now) + key.rules.period - now

    def account(self, key_id: str) -> Account:
        """What is known of a key. Raises KeyError for one that made no request here."""
        return self._accounts[key_id]

    def state(self) -> dict[str, Any]:
        """For `/readyz`."""
        return {"error": self.error}

    def _account(self, key: Key, now: float) -> Account:
        account = self._accounts.get(key.id)
        if account is None:
            account = self._accounts[key.id] = Account(key)
        account.key, account.used = key, now
        return account

    async def _watch(self) -> None:
        while True:
            began = time.monotonic()
            now = self._clock()
            for account in tuple(self._accounts.values()):
                if now - account.used < UNUSED:
                    async with self._looking:
                        await self._look(account, account.key.period_began(now))
                    self._forget(account, now)
            await asyncio.sleep(max(LOOKS_EVERY, SHARE * (time.monotonic() - began)))

    async def _look(self, account: Account, began: float) -> None:
        since = datetime.fromtimestamp(began, UTC)
        try:
            found = await self._asking.ask(self._shelf.spent_by_others, account.key.id, since)
        except Exception as error:  # whatever it is: what is known goes on counting
            if self.error is None:
                log.warning("what keys spent elsewhere cannot be read", error=str(error))
            self.error = str(error) or type(error).__name__
            if account.others_of < 0:
                account.others_of = began  # nobody waits for it again; the next look corrects it
            return
        self.error = None
        account.others, account.others_of = found, began

    def _forget(self, account: Account, now: float) -> None:
        """Periods before the last one are over, also for exchanges that still run."""
        oldest = account.key.period_began(now) - account.key.rules.period
        for began in [each for each in account.own if each < oldest]:
            del account.own[began]
