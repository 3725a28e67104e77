"""The database of the records: opened, migrated, written in groups, one transaction each.

Maps the database's errors: DatabaseFailing is worth another try, EntryRefused never is. What is read is
in `queries`; what differs between databases in `engines`.
"""

import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from aibridge.config import DatabaseUrl
from aibridge.records import engines
from aibridge.records.failures import DatabaseFailing, EntryRefused, RecordsError
from aibridge.records.migrations import is_current
from aibridge.records.rows import STARTED, UPSERTS, Row, Upsert, Values
from aibridge.records.summaries import outdate, past_days
from aibridge.records.tables import exchanges, settings

CALLERS = "caller_secret"
FAILING = (DBAPIError, PoolTimeout, OSError)


class Store:
    """The database at `url`; raises RecordsError for a URL that cannot serve."""

    def __init__(self, url: DatabaseUrl) -> None:
        self.engine = engines.open_engine(url.get_secret_value())
        self._reading = engines.reading(self.engine)
        self._file: tuple[int, int] | None = None
        self._statements: dict[tuple[str, frozenset[str], tuple[str, ...]], sa.Insert] = {}

    @property
    def exists(self) -> bool:
        """Whether there is a database already."""
        return engines.identity(self.engine) is not None

    def open(self) -> None:
        """Make and migrate the database; waits a while for other processes. Raises RecordsError."""
        try:
            engines.patiently(self._prepare)
        except (OSError, SQLAlchemyError) as error:
            url = self.engine.url.render_as_string(hide_password=True)
            raise RecordsError(f"the records' database {url} cannot be opened: {reason(error)}") from error

    def write(self, rows: Iterable[Row]) -> None:
        """Write `rows` in one transaction; those that exist are set again.

        Raises DatabaseFailing, EntryRefused; then nothing was written.
        """
        groups: dict[Upsert, list[Values]] = {upsert: [] for upsert in UPSERTS}
        for upsert, values in rows:
            groups[upsert].append(values)
        changed = _past_days(groups)
        with self.writing() as connection:
            outdate(connection, changed)
            for upsert, group in groups.items():
                if group:
                    connection.execute(self._statement(upsert, group[0]), group)

    def interrupt(self, worker: str) -> int:
        """Mark what still runs of the ended process `worker` as interrupted; how many there were.

        Raises DatabaseFailing.
        """
        ran = sa.and_(exchanges.c.worker == worker, exchanges.c.status == "running")
        ending = {
            "status": "interrupted",
            "error_code": "interrupted",
            "error_message": "the process that served this exchange ended before the exchange did",
        }
        with self.writing() as connection:
            return connection.execute(sa.update(exchanges).where(ran).values(ending)).rowcount

    def caller_secret(self) -> bytes:
        """32 random bytes, made once for all processes that share the database.

        Raises DatabaseFailing.
        """
        query = sa.select(settings.c.value).where(settings.c.key == CALLERS)
        with self.reading() as connection:
            found = connection.scalar(query)
        if found is None:
            with _mapped():
                engines.patiently(self._make_caller_secret)
            with self.reading() as connection:
                found = connection.scalar(query)
        return bytes.fromhex(str(found))

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads; raises DatabaseFailing."""
        try:
            with self._reading.begin() as connection:
                yield connection
        except FAILING as error:
            raise DatabaseFailing(reason(error)) from error

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction in the file that the URL names now."""
        with _mapped():
            if engines.identity(self.engine) != self._file:
                self.engine.dispose()
                self._prepare()
            with self.engine.begin() as connection:
                yield connection

    def _prepare(self) -> None:
        engines.make_database(self.engine)
        with self._reading.begin() as connection:
            current = is_current(connection)
        if not current:
            from aibridge.records.migrations.upgrading import upgrade  # noqa: PLC0415 - loads Alembic

            with self.engine.begin() as connection:
                upgrade(connection)
        self._file = engines.identity(self.engine)

    def _make_caller_secret(self) -> None:
        """Make it, unless another process does."""
        row = {"key": CALLERS, "value": secrets.token_hex(32)}
        with self.engine.begin() as connection:
            connection.execute(engines.insert_once(self.engine.dialect.name, settings), row)

    def _statement(self, upsert: Upsert, values: Values) -> sa.Insert:
        key = (upsert.table.name, upsert.once, tuple(values))
        if key not in self._statements:
            dialect = self.engine.dialect.name
            self._statements[key] = engines.upsert(dialect, upsert.table, values.keys(), upsert.once)
        return self._statements[key]


def _past_days(groups: Mapping[Upsert, list[Values]]) -> set[str]:
    """The past days to which the rows belong."""
    ids = (row.get("exchange_id") or row["id"] for group in groups.values() for row in group)
    times = (row["started_at"] for row in groups[STARTED])
    return past_days(ids, times, datetime.now(UTC))


@contextmanager
def _mapped() -> Iterator[None]:
    """Tells errors of the database's state from those of the rows that were given."""
    try:
        yield
    except (IntegrityError, DataError) as error:
        raise EntryRefused(reason(error)) from error
    except FAILING as error:
        raise DatabaseFailing(reason(error)) from error
    except (StatementError, ValueError, OverflowError, TypeError) as error:
        raise EntryRefused(reason(error)) from error


def reason(error: Exception) -> str:
    """What `error` says, without statement and values: these hold prompts."""
    original = getattr(error, "orig", None) or error
    return str(getattr(original, "strerror", None) or original or type(error).__name__)
