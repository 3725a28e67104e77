"""The records in a file of SQLite: how it is opened, and what is special about it."""

import os
import sqlite3
import time
from collections.abc import Callable, Hashable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from math import floor
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from aibridge.records.at_once import WRITING, AtOnce
from aibridge.records.engines import READS, made_engine
from aibridge.records.failures import RecordsError
from aibridge.records.files import FILE_MODE, make_folder

BUSY_MS = 2000
"""How long one statement waits for another process's transaction."""
MICRO = 1_000_000
SECONDS_REMEMBERED = 64
ZONE = len("+00:00")
PATIENCE = 15.0
"""Seconds that opening waits for a database that another process holds."""


class Sqlite:
    """What `databases.Database` asks for."""

    SCHEME = "sqlite"
    may_be_away = False

    def __init__(self, url: str) -> None:
        self.engine = made_engine(url, {})
        name = self.engine.url.database
        if not name or name == ":memory:":
            raise RecordsError("records.url has to name a file, like sqlite:///aibridge.db")
        self._path = Path(name)
        self._glances = AtOnce(self._path, self.identity)
        self._jots = AtOnce(self._path, self.identity, WRITING)
        sa.event.listen(self.engine, "connect", _connected)
        sa.event.listen(self.engine, "begin", _begin)

    @property
    def exists(self) -> bool:
        """Whether there is the file."""
        return self.identity() is not None

    def make(self) -> None:
        """Make the database file and its folder, for this user alone; raises OSError.

        A file that is there is not opened: to close it again would end all locks of this process on it.
        """
        make_folder(self._path.parent)
        if not self.exists:
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE))

    def identity(self) -> Hashable | None:
        """Which file the URL names now; SQLite goes on writing to one that was deleted."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def time_value(self, seconds: float) -> str:
        """As `tables.UtcTime` keeps it."""
        whole = floor(seconds)
        part = round((seconds - whole) * MICRO)  # rounded as datetime does
        return f"{_second(whole)}.{part:06}" if part < MICRO else f"{_second(whole + 1)}.000000"

    def size(self, connection: Connection) -> int:
        """Bytes of the file and of what was not yet moved into it."""
        beside = self._path.with_name(f"{self._path.name}-wal")
        return sum(path.stat().st_size for path in (self._path, beside) if path.exists())

    def patiently(self, work: Callable[[], None]) -> None:
        """Do `work` again while another process locks the database, for PATIENCE at most.

        SQLite refuses some steps at once, whatever its busy timeout: two processes that switch to WAL.
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return work()
            except OperationalError as error:
                if not _is_locked(error) or time.monotonic() > deadline:
                    raise
            time.sleep(0.05)

    def is_away(self, error: Exception) -> bool:
        """A file is there, or its path is wrong."""
        return False

    def glance(self, statement: str, values: Sequence[Any]) -> list[tuple[Any, ...]] | None:
        """What `statement` reads, in this thread; None where it would have to wait."""
        return self._glances.rows(statement, values)

    def jot(self, statement: str, values: Sequence[Any]) -> bool:
        """Write by `statement`, in this thread; False where it would have to wait."""
        return self._jots.rows(statement, values) is not None

    def close(self) -> None:
        """Let go of the connections for glances and jots."""
        self._glances.close()
        self._jots.close()

    def alone(self, connection: Connection) -> None:
        """A writing transaction is alone anyway."""

    def with_folders(self, connection: Connection) -> None:
        """A writing transaction is alone anyway."""


@lru_cache(SECONDS_REMEMBERED)
def _second(number: int) -> str:
    """The second `number` since 1970; it is asked for by a hundred exchanges."""
    return datetime.fromtimestamp(number, UTC).isoformat(" ")[:-ZONE]


def _is_locked(error: OperationalError) -> bool:
    code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF  # above are extended codes
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _connected(connection: Any, record: object) -> None:
    connection.isolation_level = None  # sqlite3 would commit before DDL and begin too late
    connection.execute(f"PRAGMA busy_timeout={BUSY_MS}")
    connection.execute("PRAGMA journal_mode=WAL")  # readers and one writer work side by side
    connection.execute("PRAGMA synchronous=NORMAL")


def _begin(connection: Connection) -> None:
    """A writer takes the lock at once: a reader that turns writer fails when another wrote meanwhile."""
    reads = connection.get_execution_options().get(READS, False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
