"""What differs between databases, so that the rest need not know. One line a database in DATABASES."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Protocol

from sqlalchemy import Connection, Engine

from aibridge.records.failures import RecordsError
from aibridge.records.postgres import Postgres
from aibridge.records.sqlite import Sqlite


class Database(Protocol):
    """A kind of database."""

    engine: Engine
    may_be_away: bool
    """Whether aibridge serves while it cannot be reached, from the start on."""

    @property
    def exists(self) -> bool:
        """Whether something may be kept there already."""
        ...

    def make(self) -> None:
        """Make what a connection needs; raises OSError."""
        ...

    def identity(self) -> Hashable | None:
        """What the URL names now; another value means another database."""
        ...

    def time_value(self, seconds: float) -> Any:
        """A Unix time as the driver takes it; what is later is greater.

        Raises ValueError, OverflowError or OSError for what is no time.
        """
        ...

    def size(self, connection: Connection) -> int:
        """Bytes that it takes."""
        ...

    def patiently(self, work: Callable[[], None]) -> None:
        """Do `work` again where another process is in the way for a moment."""
        ...

    def is_away(self, error: Exception) -> bool:
        """Whether `error` says that the database cannot be reached now, and may be later."""
        ...

    def glance(self, statement: str, values: Sequence[Any]) -> list[tuple[Any, ...]] | None:
        """What a short `statement` reads, in this thread, in microseconds; None where that cannot be."""
        ...

    def jot(self, statement: str, values: Sequence[Any]) -> bool:
        """Whether a short `statement` was carried out and committed, in this thread, in microseconds."""
        ...

    def close(self) -> None:
        """Let go of what is held beside the engine's connections."""
        ...

    def alone(self, connection: Connection) -> None:
        """Until the end of the transaction no other is `alone` or `with_folders`."""
        ...

    def with_folders(self, connection: Connection) -> None:
        """This transaction folds: beside others, never beside one that is `alone`."""
        ...


DATABASES = (Sqlite, Postgres)


def open_database(url: str) -> Database:
    """The database that `url` names; nothing is opened yet. Raises RecordsError for one that cannot serve."""
    for kind in DATABASES:
        if url.startswith(f"{kind.SCHEME}:"):
            return kind(url)
    raise RecordsError("records.url has to name a database that aibridge can use, like sqlite:///aibridge.db")
