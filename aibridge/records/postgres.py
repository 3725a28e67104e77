"""The records in PostgreSQL: how it is reached, and what is special about it.

It may be away for hours, at the start too: then nothing waits for it, and what is to be written stays in the
journal.
"""

import re
from collections.abc import Callable, Hashable, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from aibridge.records.engines import made_engine

REFUSED = re.compile(
    r"FATAL:.*(?:authentication failed|does not exist|no pg_hba\.conf entry|not permitted|permission denied)"
    r"|no password supplied|could not translate host name .* Name or service not known",
    re.DOTALL,
)
"""A server that will say the same tomorrow. In another language it counts as away: aibridge then serves."""
CONNECTING = {
    "connect_timeout": "3",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
    "application_name": "aibridge",
}
"""A server that vanished without a word is given up after about 20 seconds; the URL may say otherwise."""
OPTIONS = "-c timezone=UTC -c lock_timeout=15s"
FOLDING = 0x41494252
"""The advisory lock that writers share and that migrations and demands to forget take alone."""


class Postgres:
    """What `databases.Database` asks for."""

    SCHEME = "postgresql"
    may_be_away = True

    def __init__(self, url: str) -> None:
        given = sa.make_url(url)
        chosen = {name: value for name, value in CONNECTING.items() if name not in given.query}
        own = given.query.get("options", "")
        chosen["options"] = f"{OPTIONS} {own if isinstance(own, str) else ' '.join(own)}".strip()
        driver = given.set(drivername="postgresql+psycopg").difference_update_query(["options"])
        self.engine = made_engine(driver, chosen)

    @property
    def exists(self) -> bool:
        """It is made by its owner, never by aibridge."""
        return True

    def make(self) -> None:
        """It is made by its owner."""

    def identity(self) -> Hashable | None:
        """There is one behind the URL."""
        return self.SCHEME

    def time_value(self, seconds: float) -> datetime:
        """Aware."""
        return datetime.fromtimestamp(seconds, UTC)

    def size(self, connection: Connection) -> int:
        """Bytes on the server's disk."""
        return int(connection.scalar(sa.text("SELECT pg_database_size(current_database())")) or 0)

    def patiently(self, work: Callable[[], None]) -> None:
        """Do `work`; the server lets it wait for others."""
        work()

    def is_away(self, error: Exception) -> bool:
        """Whether the server may answer later."""
        return isinstance(error, DBAPIError) and not REFUSED.search(str(error.orig))

    def glance(self, statement: str, values: Sequence[Any]) -> None:
        """Every question travels."""

    def jot(self, statement: str, values: Sequence[Any]) -> bool:
        """Every word travels."""
        return False

    def close(self) -> None:
        """Nothing is held but the engine's connections."""

    def alone(self, connection: Connection) -> None:
        """Wait for all transactions that are `with_folders`, and keep new ones out until this one ends."""
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(FOLDING)))

    def with_folders(self, connection: Connection) -> None:
        """Beside others that fold, but not beside one that is `alone`."""
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock_shared(FOLDING)))
