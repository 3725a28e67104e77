"""The records' database, open for a test."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aibridge.config import DatabaseUrl
from aibridge.records.store import Store


@contextmanager
def opened(url: DatabaseUrl) -> Iterator[Store]:
    """The database, until the block ends."""
    store = Store(url)
    store.open()
    yield store
    store.close()


def in_file(folder: Path) -> DatabaseUrl:
    """A database in `folder`."""
    return DatabaseUrl(f"sqlite:///{folder / 'records.db'}")
