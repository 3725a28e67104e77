"""The keys that this process knows: all of them, read anew within half a second of a change.

No request waits for the database: it is asked beside them, and while it is away the known keys keep
working (and expiring).
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import structlog

from aibridge import tasks
from aibridge.access import secrets
from aibridge.access.asking import Asking
from aibridge.access.key import Key
from aibridge.access.ports import Shelf
from aibridge.errors import BridgeError, Kind

LOOKS_EVERY = 0.4
"""Seconds; a revoked key is to end within one."""
LONGEST_LOOK = 5.0
REFUSED = "this aibridge key is unknown, expired or revoked; `aibridge keys create` makes one"

log = structlog.get_logger(__name__)
Clock = Callable[[], datetime]


def _now() -> datetime:
    return datetime.now(UTC)


class Keyring:
    """The keys on `shelf`."""

    def __init__(
        self, shelf: Shelf, before: Callable[[Mapping[str, Key]], None] | None = None, now: Clock = _now
    ) -> None:
        """`before` is called in a thread with keys that are about to count, to make ready what is slow."""
        self._shelf, self._before, self._now = shelf, before, now
        self._keys: Mapping[str, Key] | None = None
        self._version: str | None = None
        self._looking, self._asking = asyncio.Lock(), Asking(LONGEST_LOOK)
        self._task: asyncio.Task[None] | None = None
        self.error: str | None = None
        """Why the last look at the database failed."""

    async def start(self) -> None:
        """Read the keys once, then look for changes until `aclose`."""
        await self.look()
        self._task = tasks.start(self._watch(), "keys")

    async def aclose(self) -> None:
        """Look no more."""
        if self._task is not None:
            await tasks.stop(self._task)

    def find(self, text: str) -> Key:
        """The key whose text is `text`. Raises BridgeError (401; 503 where no key could be read yet)."""
        if self._keys is None:
            sentence = "the keys could not be read yet: the records' database does not answer"
            raise BridgeError(Kind.OVERLOADED, sentence, retry_after=1)
        key = self._keys.get(secrets.id_in(text) or "")
        if key is None or not key.proven_by(text, self._now()):
            raise BridgeError(Kind.INVALID_KEY, REFUSED)
        return key

    def get(self, key_id: str) -> Key | None:
        """The key with this id, whatever its state."""
        return (self._keys or {}).get(key_id)

    async def look(self) -> None:
        """Read the keys anew if they have changed; a failure is kept in `error`."""
        async with self._looking:
            try:
                found = await self._asking.ask(self._read)
            except Exception as error:  # whatever it is: the known keys keep working
                if self.error is None:
                    log.warning("keys cannot be read; those that are known keep working", error=str(error))
                self.error = str(error) or type(error).__name__
                return
            if self.error is not None:
                log.info("keys can be read again")
            self.error = None
            if found is not None:
                self._version, self._keys = found

    def state(self) -> dict[str, Any]:
        """For `/readyz`."""
        return {"keys": len(self._keys or ()), "error": self.error}

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOKS_EVERY)
            await self.look()

    def _read(self) -> tuple[str, Mapping[str, Key]] | None:
        """Version and keys; None where nothing changed. The version first: a change between is seen again."""
        version = self._shelf.version()
        if version == self._version:
            return None
        keys = {key.id: key for key in map(Key.of, self._shelf.all_keys())}
        if self._before is not None:
            self._before(keys)
        return version, keys
