"""Engines and statements that all databases share."""

from collections.abc import Collection, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import URL, Engine, Table
from sqlalchemy.dialects import postgresql, sqlite

from aibridge.masking import mask
from aibridge.records.failures import RecordsError

READS = "aibridge_reads"


def made_engine(url: str | URL, connecting: Mapping[str, str]) -> Engine:
    """An engine for `url`; nothing is opened yet. Raises RecordsError for a URL that cannot serve.

    Its errors name no values: these hold prompts.
    """
    try:
        return sa.create_engine(
            url, connect_args=dict(connecting), hide_parameters=True, pool_pre_ping=bool(connecting)
        )
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ImportError) as error:
        sentence = mask(str(error))
        raise RecordsError(f"records.url is no database URL that aibridge can use: {sentence}") from None


def reading(engine: Engine) -> Engine:
    """`engine` for transactions that only read, which wait for no writer; each sees one state."""
    options: dict[str, Any] = {READS: True}
    if engine.dialect.name == "postgresql":  # where else each statement sees a state of its own
        options["isolation_level"] = "REPEATABLE READ"
    return engine.execution_options(**options)


def upsert(dialect: str, table: Table, columns: Collection[str], once: Collection[str]) -> sa.Insert:
    """Insert `columns`, or set them where the key exists, those in `once` excepted."""
    key = [column.name for column in table.primary_key]
    new = insert(dialect, table)
    changed = {name: new.excluded[name] for name in columns if name not in (*key, *once)}
    return new.on_conflict_do_update(index_elements=key, set_=changed)


def insert_once(dialect: str, table: Table) -> sa.Insert:
    """Insert a row unless its key exists."""
    return insert(dialect, table).on_conflict_do_nothing()


def insert(dialect: str, table: Table) -> postgresql.Insert | sqlite.Insert:
    """An insert that may say what becomes of a row that exists."""
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
