"""Room for records: the limit of the journals, and what happens when it is reached or the disk is full.

`wait`: no new exchange begins until there is room, and those that run are recorded all the same: beyond the
limit, or on a full disk in memory until it takes them. `drop`: new exchanges run and are not recorded.
"""

import threading
import time
from collections import deque
from typing import Literal

from aibridge.facts import ExchangeEnded, ExchangeStarted, Fact
from aibridge.records import files, logs
from aibridge.records.journal import Journal

LOOKS_EVERY = 1.0
"""Seconds between two looks at the folder."""
MOST_WAITING = 64 << 20
"""Bytes that wait in memory for a disk; what is beyond is lost, and counted."""


class Room:
    """The way into `journal`."""

    def __init__(self, journal: Journal, limit: int, on_full: Literal["wait", "drop"]) -> None:
        self._journal, self._limit, self._on_full = journal, limit, on_full
        self._lock = threading.Lock()
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._unrecorded: set[str] = set()
        self._looked = 0.0
        self.problem: str | None = None
        """Why there is no room."""
        self.dropped = 0
        """Exchanges that were not recorded because there was none."""

    def takes(self, fact: Fact) -> bool:
        """Whether `fact` is to be recorded: with `drop` not where its exchange began without room."""
        if self._on_full == "wait":
            return True
        if isinstance(fact, ExchangeStarted) and self._is_full():
            self.dropped += 1
            self._unrecorded.add(fact.exchange_id)
            return False
        if not self._unrecorded or fact.exchange_id not in self._unrecorded:
            return True
        if isinstance(fact, ExchangeEnded):
            self._unrecorded.discard(fact.exchange_id)
        return False

    def append(self, entry: bytes) -> None:
        """Append to the journal; what it cannot take now waits, in its order.

        Raises OSError where too much waits, ValueError when the journal is closed.
        """
        if not self._waiting:
            try:
                self._journal.append((entry,))
                return
            except OSError as error:
                self.problem = f"a record could not be written to the journal: {error}"
                logs.error("the journal cannot be written; records wait in memory", error=str(error))
        with self._lock:
            if self._waiting_bytes + len(entry) > MOST_WAITING:
                raise OSError(f"more than {MOST_WAITING >> 20} MiB wait for the journal")
            self._waiting.append(entry)
            self._waiting_bytes += len(entry)
        self.settle()

    def settle(self) -> None:
        """Try to write what waits."""
        with self._lock:
            try:
                while self._waiting:
                    self._journal.append((self._waiting[0],))
                    self._waiting_bytes -= len(self._waiting.popleft())
            except (OSError, ValueError):
                return

    def refusal(self) -> str | None:
        """Why no new exchange may begin, in one sentence."""
        if self._on_full == "drop" or not self._is_full():
            return None
        return "aibridge has no room for records and takes no new requests until there is; try again later"

    def _is_full(self) -> bool:
        """A look at the folder at most every LOOKS_EVERY seconds: some files, also when all is full."""
        now = time.monotonic()
        if now - self._looked >= LOOKS_EVERY:
            self._looked = now
            self.look()
        return self.problem is not None

    def look(self) -> None:
        """See whether there is room, and write what waits."""
        before = self.problem
        self.settle()
        size = files.total_size(self._journal.folder)
        if self._waiting:
            return
        over = size >= self._limit
        self.problem = (
            f"the journals have {size} bytes, records.journal_limit is {self._limit}" if over else None
        )
        if self.problem and not before:
            logs.error("no room for records", reason=self.problem, on_full=self._on_full)
        elif before and not self.problem:
            logs.info("there is room for records again")
