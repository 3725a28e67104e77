"""Upserts as the driver takes them, made once: SQLAlchemy would bind each value of each row anew."""

from collections.abc import Callable, Collection, Mapping
from operator import itemgetter
from typing import Any

from sqlalchemy import Dialect, Insert, Table
from sqlalchemy.engine.interfaces import DBAPIConnection

Process = Callable[[Any], Any]


class Prepared:
    """An upsert of some columns."""

    def __init__(self, dialect: Dialect, statement: Insert, table: Table, columns: Collection[str]) -> None:
        """`statement` is given these `columns` of `table`."""
        compiled = statement.compile(dialect=dialect, column_keys=list(columns))
        self.text = str(compiled)
        self._order = itemgetter(*compiled.positiontup) if compiled.positiontup else None
        processes = {name: _process(dialect, table, name) for name in columns}
        self._processes: Mapping[str, Process] = {name: each for name, each in processes.items() if each}

    def execute_alone(self, connection: DBAPIConnection, row: Mapping[str, Any]) -> None:
        """Write one row and commit, on a connection of the driver: a transaction of SQLAlchemy costs more."""
        cursor = connection.cursor()
        cursor.execute(self.text, self.values(row))
        cursor.close()
        connection.commit()

    def values(self, row: Mapping[str, Any]) -> Any:
        """`row` as the driver takes it, in the order of `text`."""
        bound = dict(row)
        for name, process in self._processes.items():
            bound[name] = process(bound[name])
        return self._order(bound) if self._order else bound


def _process(dialect: Dialect, table: Table, name: str) -> Process | None:
    return table.c[name].type.dialect_impl(dialect).bind_processor(dialect)
