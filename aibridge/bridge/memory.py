"""A bounded memory of hidden turns in the process, alone or in front of a store that others share.

Most answers in a conversation hid nothing. A key that the store did not know is remembered as such:
an answer's hidden turns are kept before its client can send it back, so it will not turn up later.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

import structlog

from aibridge.bridge.beginnings import Beginnings
from aibridge.bridge.ports import RecallStore

log = structlog.get_logger(__name__)
KEPT_FOR = 24 * 3600.0
"""Seconds."""
LARGEST = 64 << 20
"""Bytes kept in the process where there is no store."""
ENTRY = 256
"""Bytes that a key costs beside its content, about; a key that holds neither of two costs that too."""
MOST_UNKNOWN = 100_000


class Memory:
    """Keeps hidden turns by key, for a day; the oldest go first."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` tells seconds."""
        self._clock = clock
        self._kept: OrderedDict[bytes, tuple[float, bytes | None]] = OrderedDict()
        self._size = 0

    async def get(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        """What is kept under `keys`."""
        self._forget_old()
        found = {key: self._kept[key][1] for key in keys if key in self._kept}
        return {key: content for key, content in found.items() if content is not None}

    async def put(
        self, key: bytes, content: bytes, *, newest_wins: bool, caller: str = "", user: str | None = None
    ) -> None:
        """Keep `content`; a key with two contents that cannot be told apart holds neither."""
        self._forget_old()
        known: bytes | None = content
        if key in self._kept:
            known = self._kept.pop(key)[1]
            self._size -= _size(known)
        kept = content if newest_wins or known == content else None
        self._kept[key] = (self._clock(), kept)
        self._size += _size(kept)
        while self._size > LARGEST:
            self._drop_oldest()

    def _forget_old(self) -> None:
        """The first are the oldest."""
        until = self._clock() - KEPT_FOR
        while self._kept and next(iter(self._kept.values()))[0] < until:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        _, (_, content) = self._kept.popitem(last=False)
        self._size -= _size(content)


def _size(content: bytes | None) -> int:
    return ENTRY + len(content or b"")


class Remembering:
    """In front of a store: asks it only for keys that are not known to be absent."""

    def __init__(self, store: RecallStore) -> None:
        self.beginnings = Beginnings()
        self._store = store
        self._spare = Memory()
        self._absent: OrderedDict[bytes, None] = OrderedDict()
        self._fails = False

    async def get(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes | None]:
        """What the store has under `keys`: None is nothing, for ever; keys it cannot tell of are left out."""
        spare = await self._spare.get(keys)
        told: dict[bytes, bytes | None] = dict.fromkeys(key for key in keys if key in self._absent)
        try:
            told.update(await self._ask([key for key in keys if key not in told]))
        except Exception as error:  # an answer without its hidden turns beats none
            self._failed("hidden turns cannot be read and are not put back for now", error)
        else:
            self._works()
        return {**told, **spare}

    async def _ask(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes | None]:
        """What the store says of `keys`."""
        found = await self._store.get(keys) if keys else {}
        for key in keys:
            if key not in found:
                self._absent[key] = None
        while len(self._absent) > MOST_UNKNOWN:
            self._absent.popitem(last=False)
        return {**dict.fromkeys(keys), **found}

    async def put(
        self, key: bytes, content: bytes, *, newest_wins: bool, caller: str = "", user: str | None = None
    ) -> None:
        """Keep `content` in the store; in the process where the store fails."""
        if key in self._absent:  # an answer of the same words hid nothing
            del self._absent[key]
            self.beginnings.forget()
        try:
            await self._store.put(key, content, newest_wins=newest_wins, caller=caller, user=user)
        except Exception as error:  # the client waits for its answer
            self._failed("hidden turns are kept in this process only for now", error)
            await self._spare.put(key, content, newest_wins=newest_wins)
        else:
            self._works()

    def _failed(self, what: str, error: Exception) -> None:
        """Told once, not for each request."""
        if not self._fails:
            log.warning(what, error=str(error) or type(error).__name__)
        self._fails = True

    def _works(self) -> None:
        if self._fails:
            log.info("hidden turns are kept for all processes again")
        self._fails = False
