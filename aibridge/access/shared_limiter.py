"""Rates and concurrency of keys, counted for several processes of one machine: a small file for each key.

A file is read, changed and written under its lock, some ten microseconds a request. A process that is killed
loses its locks with its life, so its leases are seen to be nobody's.
"""

import fcntl
import json
import mmap
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog

from aibridge.access.buckets import Book, Bucket, Limits, Verdict
from aibridge.access.limiter import LocalLimiter
from aibridge.access.secrets import new_id

SIZE = 1 << 18
"""Bytes of a file; room for thousands of requests at a time."""
LENGTH = struct.Struct("<I")
TRIES, PAUSE = 40, 0.0005
"""How often, and after how many seconds, a lock is tried that another process holds."""

log = structlog.get_logger(__name__)


class SharedLimiter:
    """Counts in files of `folder`; where that fails, in this process alone."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder, self._me = folder, new_id()
        self._alive = _locked(self._life(self._me))
        self._pages: dict[str, _Page] = {}
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
        if limits.concurrency is None and (limits.tpm is None or not more):
            return
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
        for page in self._pages.values():
            page.close()
        self._pages.clear()
        self._life(self._me).unlink(missing_ok=True)
        os.close(self._alive)

    @contextmanager
    def _book(self, key_id: str) -> Iterator[Book]:
        """The key's book, for this process alone until the block ends, and written then."""
        page = self._pages.get(key_id)
        if page is None:
            page = self._pages[key_id] = _Page(self._folder / f"{key_id}.limits")
        with page.locked():
            book = page.read()
            yield book
            page.write(book)
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


class _Page:
    """One key's file, in memory: the length of a JSON text, and the text."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, FLAGS, 0o600)
        os.ftruncate(self._file, SIZE)  # sparse: it takes as much as was written
        self._memory = mmap.mmap(self._file, SIZE)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """For this process alone; raises TimeoutError where another does not let go of it."""
        _lock(self._file)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def read(self) -> Book:
        """What is written; an empty book where nothing is, or a killed process left half of it."""
        length = LENGTH.unpack_from(self._memory)[0]
        try:
            told = json.loads(self._memory[LENGTH.size : LENGTH.size + length])
            return Book(Bucket(*told["requests"]), Bucket(*told["tokens"]), set(told["running"]))
        except (ValueError, TypeError, KeyError):
            return Book()

    def write(self, book: Book) -> None:
        """Write it; raises ValueError where it has no room."""
        requests, tokens = book.requests, book.tokens
        plain = {
            "requests": [requests.left, requests.at],
            "tokens": [tokens.left, tokens.at],
            "running": sorted(book.running),
        }
        text = json.dumps(plain).encode()
        if LENGTH.size + len(text) > SIZE:
            raise ValueError("too many requests at a time to be shared")
        self._memory[: LENGTH.size + len(text)] = LENGTH.pack(len(text)) + text

    def close(self) -> None:
        """Let go of the file."""
        self._memory.close()
        os.close(self._file)
