"""The history of the tables, and which revision a database has.

How it gets the newest is in `upgrading`, apart from here because loading Alembic costs more time than all
else of a start.
"""

import sqlalchemy as sa
from sqlalchemy import Connection

from aibridge.records.failures import RecordsError

HEAD = "0007"
"""The revision of `tables`; a test compares it with the newest file in versions/."""


def is_current(connection: Connection) -> bool:
    """Whether the database is at HEAD; raises RecordsError where a newer aibridge made it."""
    found = _revision(connection)
    if found is not None and found > HEAD:
        raise RecordsError(
            f"the records' database is of a newer aibridge (revision {found}, this one knows {HEAD});"
            " run the newer aibridge or name another database in records.url"
        )
    return found == HEAD


def _revision(connection: Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return None if found is None else str(found)
