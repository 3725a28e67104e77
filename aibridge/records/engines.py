"""What differs between databases, so that the rest need not know: opening, locks, upserts.

SQLite today; PostgreSQL has the same upserts and takes an advisory lock where SQLite begins immediate.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import OperationalError

from aibridge.records.failures import RecordsError
from aibridge.records.files import FILE_MODE, make_folder

BUSY_MS = 2000
"""How long one statement waits for another process's transaction."""
PATIENCE = 15.0
"""Seconds that opening waits for a database that another process holds."""
READS = "aibridge_reads"


def open_engine(url: str) -> Engine:
    """An engine for `url`; nothing is opened yet. Raises RecordsError for a URL that cannot serve."""
    try:
        engine = sa.create_engine(url)
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ImportError) as error:
        raise RecordsError(f"records.url is no database URL that aibridge can use: {error}") from None
    if engine.dialect.name != "sqlite" or database_file(engine) is None:
        raise RecordsError("records.url has to name a file, like sqlite:///aibridge.db")
    sa.event.listen(engine, "connect", _connected)
    sa.event.listen(engine, "begin", _begin)
    return engine


def database_file(engine: Engine) -> Path | None:
    """The file that `engine` opens; None for a database in memory."""
    name = engine.url.database
    return Path(name) if name and name != ":memory:" else None


def make_database(engine: Engine) -> None:
    """Make the database file and its folder, for this user alone; raises OSError."""
    path = database_file(engine)
    assert path is not None
    make_folder(path.parent)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE))


def identity(engine: Engine) -> tuple[int, int] | None:
    """Which file the URL names now; SQLite goes on writing to one that was deleted."""
    path = database_file(engine)
    try:
        found = path.stat() if path else None
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if found else None


def patiently(work: Callable[[], None]) -> None:
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


def _is_locked(error: OperationalError) -> bool:
    code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF  # above are extended codes
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def reading(engine: Engine) -> Engine:
    """`engine` for transactions that only read, which wait for no writer."""
    return engine.execution_options(**{READS: True})


def upsert(dialect: str, table: Table, columns: Collection[str], once: Collection[str]) -> sa.Insert:
    """Insert `columns`, or set them where the key exists, those in `once` excepted."""
    key = [column.name for column in table.primary_key]
    insert = _insert(dialect, table)
    changed = {name: insert.excluded[name] for name in columns if name not in (*key, *once)}
    return insert.on_conflict_do_update(index_elements=key, set_=changed)


def insert_once(dialect: str, table: Table) -> sa.Insert:
    """Insert a row unless its key exists."""
    return _insert(dialect, table).on_conflict_do_nothing()


def _insert(dialect: str, table: Table) -> postgresql.Insert | sqlite.Insert:
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)


def _connected(connection: Any, record: object) -> None:
    connection.isolation_level = None  # sqlite3 would commit before DDL and begin too late
    connection.execute(f"PRAGMA busy_timeout={BUSY_MS}")
    connection.execute("PRAGMA journal_mode=WAL")  # readers and one writer work side by side
    connection.execute("PRAGMA synchronous=NORMAL")


def _begin(connection: Connection) -> None:
    """A writer takes the lock at once: a reader that turns writer fails when another wrote meanwhile."""
    reads = connection.get_execution_options().get(READS, False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
