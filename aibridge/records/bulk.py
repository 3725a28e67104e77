"""Writes many rows with few statements, in the driver's own words: SQLAlchemy would bind each value anew.

SQLite is given many rows a statement: each opens all indexes anew, and in each the interpreter is let go
and taken again, which costs where requests want it too. PostgreSQL's driver sends rows together by itself.
"""

from collections.abc import Sequence
from itertools import chain

from sqlalchemy import Connection, Dialect

from aibridge.records.giving_way import give_way
from aibridge.records.rows import Upsert, Values

MOST_VALUES = 999
"""Of a statement, whatever SQLite's version."""
MOST_ROWS = 32
"""Of a statement: some 0.2 ms, in which a request may wait for the core."""


class Bulk:
    """Writes rows of one upsert."""

    def __init__(self, dialect: Dialect, upsert: Upsert) -> None:
        quote = dialect.identifier_preparer.quote
        key = [column.name for column in upsert.table.primary_key]
        changed = [quote(name) for name in upsert.columns if name not in upsert.once and name not in key]
        several = dialect.name == "sqlite"
        place = "?" if several else "%s"
        self._row = f"({', '.join(place for _ in upsert.columns)})"
        self._into = f"{quote(upsert.table.name)} ({', '.join(map(quote, upsert.columns))})"
        self._again = (
            f"({', '.join(map(quote, key))})",
            ", ".join(f"{name}=excluded.{name}" for name in changed),
        )
        self._one = self._text(1)
        largest = min(MOST_VALUES // len(upsert.columns), MOST_ROWS)
        sizes = (largest, largest // 4) if several else ()
        self._several = [(size, self._text(size)) for size in sizes]

    def write(self, connection: Connection, rows: Sequence[Values]) -> None:
        """Insert `rows`, or set them where they exist."""
        at = 0
        for size, text in self._several:
            while len(rows) - at >= size:
                connection.exec_driver_sql(text, tuple(chain.from_iterable(rows[at : at + size])))
                at += size
                give_way()
        if at < len(rows):
            connection.exec_driver_sql(self._one, list(rows[at:]))
            give_way()

    def _text(self, rows: int) -> str:
        key, changes = self._again
        values = ", ".join([self._row] * rows)
        return " ".join(
            ["INSERT INTO", self._into, "VALUES", values, "ON CONFLICT", key, "DO UPDATE SET", changes]
        )
