"""The models of all upstreams as one list, remembered for a minute; an upstream that is down is left out.

That it is down is remembered too, for a shorter while.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aibridge.errors import BridgeError
from aibridge.upstreams.client import Upstream
from aibridge.upstreams.routing import Router
from aibridge.wire.json_text import loads

REMEMBERED = 60.0
"""Seconds."""
FAILURE_REMEMBERED = 15.0
"""Seconds: clients that ask every few of them shall not wait each time for an upstream that hangs."""
MOST = 1000
"""Lists that are remembered: callers with credentials of their own have one each."""


@dataclass(frozen=True, slots=True)
class Listed:
    """The merged list, and the upstreams that did not answer."""

    models: list[Mapping[str, Any]]
    stands_for: Mapping[str, str]
    """What the upstream of a model is asked for, by the model's id: another name where that is an alias."""
    unavailable: list[str]


Remembered = tuple[float, list[Mapping[str, Any]] | None]
"""Until when, and the list; None where there was none."""


@dataclass(slots=True)
class ModelList:
    """Asks the upstreams for their models."""

    router: Router
    clock: Callable[[], float] = time.monotonic
    _remembered: dict[tuple[str, str], Remembered] = field(default_factory=dict)

    async def merged(self, headers: Sequence[tuple[bytes, bytes]], caller: str) -> Listed:
        """The models that `caller` may ask for: each id once, from the upstream that serves it."""
        upstreams = self.router.upstreams
        own = self.router.callers_own()
        lists = await asyncio.gather(
            *(self._of(each, headers, caller if each is own else None) for each in upstreams)
        )
        models: dict[str, Mapping[str, Any]] = {}
        stands_for: dict[str, str] = {}
        for upstream, found in zip(upstreams, lists, strict=True):
            aliases = [
                {"id": alias, "object": "model", "owned_by": upstream.name} for alias in upstream.aliases
            ]
            for model in (*found, *aliases) if found is not None else ():
                if self.router.serves(upstream, model["id"]):
                    models.setdefault(model["id"], model)
                    stands_for[model["id"]] = upstream.resolve(model["id"])
        unavailable = [each.name for each, found in zip(upstreams, lists, strict=True) if found is None]
        return Listed(list(models.values()), stands_for, unavailable)

    async def _of(
        self, upstream: Upstream, headers: Sequence[tuple[bytes, bytes]], caller: str | None
    ) -> list[Mapping[str, Any]] | None:
        """The upstream's own list; None where it gives none. Without a `caller` only ours goes on."""
        key = (upstream.name, caller or "")
        known = self._remembered.get(key)
        if known and self.clock() < known[0]:
            return known[1]
        try:
            asked = upstream.without_callers_credential() if caller is None else upstream
            status, body = await asked.list_models(headers)
            found = _entries(loads(body)) if status == 200 else None
        except (BridgeError, ValueError):
            found = None
        if len(self._remembered) >= MOST:
            self._remembered.clear()
        lasts = REMEMBERED if found is not None else FAILURE_REMEMBERED
        self._remembered[key] = (self.clock() + lasts, found)
        return found


def _entries(answer: Any) -> list[Mapping[str, Any]] | None:
    data = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(data, list):
        return None
    return [entry for entry in data if isinstance(entry, dict) and isinstance(entry.get("id"), str)]
