"""Short statements to a file of SQLite in the caller's thread, which is the one that serves.

In WAL who reads waits for nobody, who writes for another writer alone, and what others have committed is
seen at once. Where a statement would have to wait there is no answer. Whatever else may be (the file is gone,
another one; its disk is slow) is none either, and for a while not tried again.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

SLOW = 0.02
"""Seconds that no short statement takes whose disk keeps up."""
REST = 2.0
"""Seconds without a statement after one that failed, or was slow."""
READING = ("PRAGMA query_only=ON",)
WRITING = ("PRAGMA synchronous=NORMAL", "PRAGMA wal_autocheckpoint=0")
"""A commit writes to the log of changes alone; the records' writer moves that into the file, and syncs."""


class AtOnce:
    """A connection of its own, opened with the first statement."""

    def __init__(
        self, path: Path, identity: Callable[[], Hashable | None], settings: Sequence[str] = READING
    ) -> None:
        """`identity`: which file is at `path` now; None where there is none."""
        self._path, self._identity, self._settings = path, identity, settings
        self._connection: sqlite3.Connection | None = None
        self._opened: Hashable = None
        self._rests_until = 0.0
        self._closed = False

    def rows(self, statement: str, values: Sequence[Any]) -> list[tuple[Any, ...]] | None:
        """What `statement` reads, once it is committed; None where that cannot be said at once."""
        began = time.monotonic()
        if began < self._rests_until or self._closed:
            return None
        try:
            rows = self._connected().execute(statement, values).fetchall()
        except (sqlite3.Error, OSError) as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
                return None
            self._let_go()
            rows = None
        ended = time.monotonic()
        if rows is None or ended - began > SLOW:
            self._rests_until = ended + REST
        return rows

    def close(self) -> None:
        """Answer no more."""
        self._closed = True
        self._let_go()

    def _connected(self) -> sqlite3.Connection:
        """A connection to the file that the path names now, made in this process."""
        found = os.getpid(), self._identity()
        if self._connection is None or found != self._opened:
            self._let_go()
            uri = f"{self._path.absolute().as_uri()}?mode=rw"  # makes no file
            self._connection = sqlite3.connect(
                uri, uri=True, timeout=0, isolation_level=None, check_same_thread=False
            )
            for setting in self._settings:
                self._connection.execute(setting)
            self._opened = found
        return self._connection

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
