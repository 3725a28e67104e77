"""The thread that looks after the records now and then: dead owners, old rows. Never on the writer's time.

Only while the writer gets through: what it does needs the database too.
"""

import threading
from collections.abc import Callable, Sequence

from aibridge.records import logs
from aibridge.records.failures import DatabaseFailing
from aibridge.records.writer import Writer

LOOKS_EVERY = 2.0
"""Seconds between two looks."""
STOPPING = 5.0
"""Seconds that a piece of work may take to its end."""


class Keeper:
    """Does all of `chores` every LOOKS_EVERY seconds until it is stopped; each knows what is due."""

    def __init__(self, chores: Sequence[Callable[[], None]], writer: Writer) -> None:
        self._chores, self._writer = chores, writer
        self._stopped = threading.Event()
        self._told: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="aibridge-keeper", daemon=True)
        self._thread.start()

    def stop(self) -> bool:
        """End the thread; whether it ended."""
        self._stopped.set()
        self._thread.join(STOPPING)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopped.wait(LOOKS_EVERY):
            for chore in self._chores:
                if self._writer.error is None and not self._stopped.is_set():
                    self._do(chore)

    def _do(self, chore: Callable[[], None]) -> None:
        try:
            chore()
        except (DatabaseFailing, OSError):
            return  # the writer tells of it, and the next look comes
        except Exception as error:  # a dead thread would look after nothing more
            if repr(error) not in self._told:
                self._told.add(repr(error))
                logs.error("the records are not looked after as they should be", exc_info=error)
