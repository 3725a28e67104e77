"""Puts the parts of this room together, for a process that serves."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aibridge import config
from aibridge.access.administration import Administration
from aibridge.access.gate import Gate
from aibridge.access.key import Key
from aibridge.access.keyring import Keyring
from aibridge.access.limiter import make_limiter
from aibridge.access.ports import Price, Shelf
from aibridge.access.spending import Spending
from aibridge.facts import RoundEnded
from aibridge.nouns import Usage


class Access:
    """Keys, limits and budgets as `settings` want them."""

    def __init__(self, settings: config.Access, shelf: Shelf, price: Price, shared: Path | None) -> None:
        """`shared`: a folder where the processes of this machine count together, if no Redis is named;
        None where they do not."""
        self._off = settings.keys == "off"
        self._price, self._ready = price, False
        self.keyring = Keyring(shelf, self._make_ready)
        self.limiter = make_limiter(settings, shared)
        self.spending = Spending(shelf)
        self.gate = Gate(self.keyring, self.limiter, self.spending, price)
        self.administration = Administration(shelf)

    async def start(self) -> None:
        """Read the keys, and look for changes from now on."""
        if not self._off:
            await self.keyring.start()
            self.spending.start()

    async def aclose(self) -> None:
        """Let go of everything."""
        await self.keyring.aclose()
        await self.spending.aclose()
        await self.limiter.aclose()

    def state(self) -> dict[str, Any]:
        """For `/readyz`."""
        limiter = self.limiter.state()
        error = self.keyring.error or limiter["error"] or self.spending.error
        return {"state": "failing" if error else "ok", "error": error, "limits": limiter["kind"]}

    def _make_ready(self, keys: Mapping[str, Key]) -> None:
        """Prices take half a second to load: here, and not with a request."""
        if not self._ready and any(key.rules.budget for key in keys.values()):
            self._price(RoundEnded("", 1, Usage(), model="gpt-5-mini", ended_at=time.time()))
            self._ready = True
