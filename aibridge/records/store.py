"""The database of the records: opened, migrated, written in groups, one transaction each.

Maps the database's errors: DatabaseFailing is worth another try, EntryRefused never is. What is read is
in `queries`; what differs between databases in `engines`.
"""

import secrets
from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from aibridge.config import DatabaseUrl
from aibridge.masking import mask
from aibridge.records import engines
from aibridge.records.bulk import Bulk
from aibridge.records.databases import open_database
from aibridge.records.failures import DatabaseFailing, EntryRefused, RecordsError
from aibridge.records.forgetting import sweep
from aibridge.records.migrations import is_current
from aibridge.records.preparing import Prepared
from aibridge.records.rows import ENDED, STARTED, STARTED_AT, UPSERTS, WHOLE, Row, Upsert, Values, whole
from aibridge.records.summaries import outdate, past_days
from aibridge.records.tables import exchanges, hidden_turns, settings

CALLERS = "caller_secret"
DAY = len("2026-01-01")
FAILING = (DBAPIError, PoolTimeout, OSError)


class Store:
    """The database at `url`; raises RecordsError for a URL that cannot serve."""

    def __init__(self, url: DatabaseUrl) -> None:
        self.database = open_database(url.get_secret_value())
        self.engine = self.database.engine
        self._reading = engines.reading(self.engine)
        self._prepared: Hashable | None = None
        self._bulks: dict[Upsert, Bulk] = {}

    @property
    def exists(self) -> bool:
        """Whether there is a database already."""
        return self.database.exists

    def open(self) -> None:
        """Make and migrate the database; waits a while for other processes.

        Raises DatabaseFailing where it is away, RecordsError where it cannot serve.
        """
        try:
            self.database.patiently(self._prepare)
        except (OSError, SQLAlchemyError) as error:
            if self.database.is_away(error):
                raise DatabaseFailing(reason(error)) from error
            url = self.engine.url.render_as_string(hide_password=True)
            raise RecordsError(f"the records' database {url} cannot be opened: {reason(error)}") from error

    def write(self, rows: Iterable[Row]) -> None:
        """Write `rows` in one transaction; those that exist are set again.

        Raises DatabaseFailing, EntryRefused; then nothing was written.
        """
        groups: dict[Upsert, list[Values]] = {upsert: [] for upsert in UPSERTS}
        for upsert, values in rows:
            groups[upsert].append(values)
        changed = self._past_days(groups)
        with self.writing() as connection:
            self.database.with_folders(connection)
            outdate(connection, changed)
            for upsert, group in _joined(groups).items():
                if group:
                    self._bulk(upsert).write(connection, group)
            sweep(connection, lambda: _exchanges_of(groups))

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
            self.database.with_folders(connection)
            ids = list(connection.scalars(sa.select(exchanges.c.id).where(ran)))
            connection.execute(sa.update(exchanges).where(ran).values(ending))
            sweep(connection, lambda: ids)
        return len(ids)

    def caller_secret(self, offered: bytes | None = None) -> bytes:
        """32 random bytes, made once for all processes that share the database; `offered` if it has none.

        Raises DatabaseFailing.
        """
        query = sa.select(settings.c.value).where(settings.c.key == CALLERS)
        with self.reading() as connection:
            found = connection.scalar(query)
        if found is None:
            made = offered or secrets.token_bytes(32)
            with _mapped():
                self.database.patiently(lambda: self._keep_caller_secret(made))
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
            self._prepared = None
            raise DatabaseFailing(reason(error)) from error

    def check(self) -> None:
        """Whether it may be written to now: takes the locks, and changes nothing. Raises DatabaseFailing."""
        with self.writing() as connection:
            connection.execute(sa.delete(hidden_turns).where(sa.false()))

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()
        self.database.close()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction in the file that the URL names now."""
        with self._there(), self.engine.begin() as connection:
            yield connection

    def write_one(self, statement: Prepared, row: Mapping[str, Any]) -> None:
        """Write one row, committed when this returns; raises DatabaseFailing, EntryRefused."""
        driver = self.engine.dialect.loaded_dbapi
        with self._there():
            connection = self.engine.raw_connection()
            try:
                statement.execute_alone(connection, row)
            except (driver.IntegrityError, driver.DataError) as error:
                raise EntryRefused(reason(error)) from error
            except driver.Error as error:
                raise DatabaseFailing(reason(error)) from error
            finally:
                connection.close()  # which goes back to the pool, and takes back what was not committed

    @contextmanager
    def _there(self) -> Iterator[None]:
        """Within, the database is there and migrated; its errors are mapped."""
        try:
            with _mapped():
                if self._prepared is None or self.database.identity() != self._prepared:
                    self.engine.dispose()
                    self._prepare()
                yield
        except DatabaseFailing:
            self._prepared = None  # another may be there when it answers again
            raise

    def _prepare(self) -> None:
        self.database.make()
        with self._reading.begin() as connection:
            current = is_current(connection)
        if not current:
            from aibridge.records.migrations.upgrading import upgrade  # noqa: PLC0415 - loads Alembic

            with self.engine.begin() as connection:
                self.database.alone(connection)
                upgrade(connection)
        self._prepared = self.database.identity()

    def _keep_caller_secret(self, made: bytes) -> None:
        """Keep it, unless another process was first."""
        row = {"key": CALLERS, "value": made.hex()}
        with self.engine.begin() as connection:
            connection.execute(engines.insert_once(self.engine.dialect.name, settings), row)

    def _bulk(self, upsert: Upsert) -> Bulk:
        if upsert not in self._bulks:
            self._bulks[upsert] = Bulk(self.engine.dialect, upsert)
        return self._bulks[upsert]

    def _past_days(self, groups: Mapping[Upsert, list[Values]]) -> set[str]:
        """The past days to which the rows belong: by the exchange's id, and by when it says that it began."""
        now = datetime.now(UTC)
        today = self.database.time_value(datetime(now.year, now.month, now.day, tzinfo=UTC).timestamp())
        began = [values[STARTED_AT] for values in groups[STARTED]]
        days = past_days([values[0] for group in groups.values() for values in group], now)
        if began and min(began) < today:
            days |= {str(each)[:DAY] for each in began if each < today}
        return days


def _joined(groups: Mapping[Upsert, list[Values]]) -> Mapping[Upsert, list[Values]]:
    """The groups with one row for exchanges that began and ended in them."""
    ended = {values[0]: values for values in groups[ENDED]}
    began: list[Values] = []
    both: list[Values] = []
    for values in groups[STARTED]:
        ending = ended.pop(values[0], None)
        if ending is None:
            began.append(values)
        else:
            both.append(whole(values, ending))
    return {**groups, STARTED: began, WHOLE: both, ENDED: list(ended.values())}


def _exchanges_of(groups: Mapping[Upsert, list[Values]]) -> set[str]:
    """The exchanges to which the rows belong."""
    return {values[0] for group in groups.values() for values in group}


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
    told = str(getattr(original, "strerror", None) or original or type(error).__name__)
    return mask(told.strip().partition("\n")[0])  # PostgreSQL's further lines show values
