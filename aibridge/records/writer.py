"""The one thread that folds this process's journal into the database.

It waits a moment so that a group gathers, and while the database fails it tries again, ever more
seldom: the journal keeps what was told.
"""

import threading
import time
from datetime import UTC, datetime

from aibridge.records import logs
from aibridge.records.failures import DatabaseFailing
from aibridge.records.folding import fold
from aibridge.records.journal import Journal
from aibridge.records.pricing import NO_PRICES, Prices
from aibridge.records.store import Store
from aibridge.records.summaries import summarise_one
from aibridge.records.tail import Tail

GATHER = 0.1
"""Seconds in which a group gathers; with the transaction it stays under the 200 ms that are promised."""
STOPPING = 5.0
"""Seconds that a last try may take; a locked database takes two of them."""
FIRST_WAIT, LONGEST_WAIT = 0.1, 2.0
"""Seconds between tries while the database fails."""

LOOK = 600.0
"""Seconds between looks for a day that is over."""


class _Stopping(Exception):
    """A summary is given up: the thread shall end."""


class Writer:
    """Folds `journal` into `store` until it is stopped."""

    def __init__(self, journal: Journal, store: Store, prices: Prices = NO_PRICES) -> None:
        self._journal, self._store, self._prices = journal, store, prices
        self._tail = Tail(journal.folder, journal.id)
        self._told = threading.Event()
        self._hurry = threading.Event()
        self._progress = threading.Condition()
        self._stopping = False
        self._wait = 0.0
        self._next_look = 0.0
        self.folded = 0
        """How many entries left the journal, those included that the database refused."""
        self.left_out = 0
        self.error: str | None = None
        """Why the last try failed."""
        self._thread = threading.Thread(target=self._run, name="aibridge-records", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Something was told; never waits."""
        if not self._told.is_set():
            self._told.set()

    def flush(self, within: float) -> bool:
        """Wait until all that was told is folded, `within` seconds at most; whether it is."""
        target = self._journal.position
        with self._progress:
            self._at_once()
            return self._progress.wait_for(lambda: self._tail.position >= target, within)

    def stop(self) -> bool:
        """End the thread and forget the journal if it is folded whole; whether the thread ended."""
        self._stopping = True
        self._at_once()
        self._thread.join(STOPPING)
        if self._thread.is_alive():
            return False
        self._tail.close(forget=self._tail.position >= self._journal.position)
        return True

    def _at_once(self) -> None:
        self._hurry.set()
        self._told.set()

    def _run(self) -> None:
        while not self._stopping:
            self._told.wait()
            self._hurry.wait(max(GATHER, self._wait))
            self._hurry.clear()
            self._told.clear()  # before reading: what is told meanwhile wakes the thread again
            self._try()
            self._journal.prepare()
            self._summarise()

    def _try(self) -> None:
        """Fold what was told until now; what is told meanwhile gathers for the next time."""
        until = self._journal.position
        try:
            while self._fold_group() and self._tail.position < until:
                pass
        except Exception as error:  # whatever it is: a dead thread would record nothing more
            self._failed(error)

    def _summarise(self) -> None:
        """Summarise at most one past day, and look again at once while there are more."""
        if self.error is not None or self._stopping or time.monotonic() < self._next_look:
            return
        try:
            more = summarise_one(self._store, datetime.now(UTC), between=self._between)
        except _Stopping:
            return
        except Exception as error:  # questions take longer without; nothing is lost
            logs.warning("a day of the records is not summarised", error=str(error))
            more = False
        if more:
            self._told.set()
        else:
            self._next_look = time.monotonic() + LOOK

    def _between(self) -> None:
        """What was told meanwhile does not wait for a summary, nor does a stop."""
        if self._stopping:
            raise _Stopping
        self._try()

    def _fold_group(self) -> bool:
        payloads = self._tail.read(self._journal.newest)
        if payloads:
            self.left_out += fold(self._store, payloads, self._journal.id, self._prices)
            self.folded += len(payloads)
        self._works()
        with self._progress:
            self._tail.advance()
            self._progress.notify_all()
        return bool(payloads)

    def _failed(self, error: Exception) -> None:
        if self.error is None:
            expected = isinstance(error, DatabaseFailing | OSError)
            logs.warning(
                "records stay in the journal until the database takes them",
                error=str(error),
                exc_info=None if expected else error,
            )
        self.error = str(error) or type(error).__name__
        self._wait = min(LONGEST_WAIT, self._wait * 2 or FIRST_WAIT)
        self._told.set()

    def _works(self) -> None:
        if self.error is not None:
            logs.info("the database takes records again", entries=self.folded)
        self.error, self._wait = None, 0.0
