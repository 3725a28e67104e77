"""What a process knows of answers that rest in a shared store: bounded, and of contents for a minute only.

So what is deleted there is soon forgotten here too (`aibridge records forget`). A key that the store did not
have is known as such for good: an answer is kept before its client can come back with its id.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping

import structlog

from aibridge.bridge.ports import AnswerStore
from aibridge.errors import BridgeError, Kind

log = structlog.get_logger(__name__)
FRESH = 60.0
"""Seconds for which a content is not read again."""
LARGEST = 32 << 20
"""Bytes that are remembered."""
ENTRY = 256
"""Bytes that a key costs beside its content, about."""


class Lately:
    """In front of a store, or alone: then it lasts as long as the process."""

    def __init__(
        self,
        store: AnswerStore | None,
        what: str,
        clock: Callable[[], float] = time.monotonic,
        fresh: float = FRESH,
    ) -> None:
        """`what` rests there, for the log; `clock` tells seconds; `fresh`: how long it is not read again."""
        self._store, self._what, self._clock, self._fresh = store, what, clock, fresh
        self._known: OrderedDict[str, tuple[float, bytes | None]] = OrderedDict()
        self._size = 0

    async def get(self, keys: Iterable[str]) -> dict[str, bytes]:
        """What is kept under `keys`; where the store fails, what was last known of them."""
        wanted = list(keys)
        open_ = [key for key in wanted if not self._is_fresh(key)]
        found: Mapping[str, bytes] = {}
        if open_ and self._store is not None:
            try:
                found = await self._store.get(open_)
            except Exception as error:  # who asks goes on without
                log.error(f"{self._what} could not be read", error=type(error).__name__)
            else:
                for key in open_:
                    self._know(key, found.get(key), self._clock())
        known = {key: self._known[key][1] for key in wanted if key in self._known}
        return {**{key: content for key, content in known.items() if content is not None}, **found}

    async def put(self, contents: Mapping[str, bytes], *, caller: str, user: str | None) -> None:
        """Keep `contents`; in this process alone where the store fails."""
        at = self._clock()
        if self._store is not None:
            try:
                await self._store.put(contents, caller=caller, user=user)
            except Exception as error:  # the client waits for its answer
                log.error(f"{self._what} are kept in this process only", error=type(error).__name__)
                at = math.inf
        for key, content in contents.items():
            self._know(key, content, at)

    async def delete(self, keys: Iterable[str]) -> None:
        """Keep nothing under `keys` any more. Raises BridgeError (503) where the store fails."""
        gone = list(keys)
        if self._store is not None:
            try:
                await self._store.delete(gone)
            except Exception as error:
                log.error(f"{self._what} could not be deleted", error=type(error).__name__)
                sentence = "the database that keeps answers is away; delete it again later"
                raise BridgeError(Kind.OVERLOADED, sentence, retry_after=1) from error
        for key in gone:
            self._know(key, None, self._clock())

    def _is_fresh(self, key: str) -> bool:
        if key not in self._known:
            return False
        at, content = self._known[key]
        return content is None or self._store is None or self._clock() - at < self._fresh

    def _know(self, key: str, content: bytes | None, at: float) -> None:
        if key in self._known:
            self._drop(key)
        self._known[key] = at, content
        self._size += _size(content)
        while self._size > LARGEST:
            self._drop(next(iter(self._known)))

    def _drop(self, key: str) -> None:
        self._size -= _size(self._known.pop(key)[1])


def _size(content: bytes | None) -> int:
    return ENTRY + len(content or b"")
