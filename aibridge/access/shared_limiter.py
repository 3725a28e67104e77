"""Rates and concurrency of keys, counted for several processes of one machine: a small file for each key.

A file is read, changed and written under its lock, some ten microseconds a request. A process that is killed
loses its locks with its life, so its leases are seen to be nobody's.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog

from aibridge.access.buckets import Book, Bucket, Limits, Verdict
from aibridge.access.limiter import LocalLimiter
from aibridge.access.secrets import new_id

LARGEST = 1 << 20
TRIES, PAUSE = 40, 0.0005
"""How often, and after how many seconds, a lock is tried that another process holds."""

log = structlog.get_logger(__name__)


class SharedLimiter:
    """Counts in files of `folder`; where that fails, in this process alone."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder, self._me = folder, new_id()
        self._alive = _locked(self._life(self._me))
        self._files: dict[str, int] = {}
        self._meanwhile = LocalLimiter()
        self._error: str | None = None

    async def admit(self, key_id: str, limits: Limits, tokens: float, lease: str) -> Verdict:
        """See Limiter."""
        try:
            with self._book(key_id) as book:
                if limits.concurrency is not None and len(book.running) >= limits.concurrency:
                    self._forget_the_dead(book)
                return book.admit(limits, tokens, f"{self._me}:{lease}", time.time())
        except (OSError, ValueError) as error:
            self._fails(error)
            return await self._meanwhile.admit(key_id, limits, tokens, lease)

    def settle(self, key_id: str, limits: Limits, more: float, lease: str) -> None:
        """See Limiter."""
        self._meanwhile.settle(key_id, limits, more, lease)
        try:
            with self._book(key_id) as book:
                book.settle(limits, more, f"{self._me}:{lease}", time.time())
        except (OSError, ValueError) as error:
            self._fails(error)

    def state(self) -> dict[str, Any]:
        """See Limiter."""
        return {"kind": "machine", "state": "failing" if self._error else "ok", "error": self._error}

    async def aclose(self) -> None:
        """Close the files."""
        for file in self._files.values():
            os.close(file)
        self._files.clear()
        self._life(self._me).unlink(missing_ok=True)
        os.close(self._alive)

    @contextmanager
    def _book(self, key_id: str) -> Iterator[Book]:
        """The key's book, for this process alone until the block ends, and written then."""
        file = self._files.get(key_id)
        if file is None:
            file = self._files[key_id] = os.open(self._folder / f"{key_id}.json", FLAGS, 0o600)
        _lock(file)
        try:
            book = _read(os.pread(file, LARGEST, 0))
            yield book
            written = json.dumps(_plain(book)).encode()
            os.pwrite(file, written, 0)
            os.ftruncate(file, len(written))
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)
        self._error = None

    def _forget_the_dead(self, book: Book) -> None:
        """Leases of processes that have ended are free."""
        owners = {lease.partition(":")[0] for lease in book.running} - {self._me}
        dead = {owner for owner in owners if self._ended(owner)}
        book.running = {lease for lease in book.running if lease.partition(":")[0] not in dead}

    def _ended(self, owner: str) -> bool:
        path = self._life(owner)
        try:
            file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        else:
            path.unlink(missing_ok=True)
            return True
        finally:
            os.close(file)

    def _life(self, owner: str) -> Path:
        return self._folder / f"process-{owner}.lock"

    def _fails(self, error: Exception) -> None:
        if self._error is None:
            log.warning("limits cannot be shared; this process counts by itself", error=str(error))
        self._error = str(error) or type(error).__name__


FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC


def _locked(path: Path) -> int:
    file = os.open(path, FLAGS, 0o600)
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


def _lock(file: int) -> None:
    """Lock `file`; raises TimeoutError where another process does not let go of it."""
    for _ in range(TRIES):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(PAUSE)
        else:
            return
    raise TimeoutError("another process holds the lock of a key's limits")


def _read(text: bytes) -> Book:
    if not text:
        return Book()
    told = json.loads(text)
    return Book(Bucket(*told["requests"]), Bucket(*told["tokens"]), set(told["running"]))


def _plain(book: Book) -> dict[str, Any]:
    requests, tokens = book.requests, book.tokens
    return {
        "requests": [requests.left, requests.at],
        "tokens": [tokens.left, tokens.at],
        "running": sorted(book.running),
    }
