"""What there is: the database with its rows, and the journals with what is still in them."""

import os
from typing import Any

import sqlalchemy as sa

from aibridge.config import Records
from aibridge.records import files
from aibridge.records.deleting import KEYS
from aibridge.records.failures import OFF, DatabaseFailing, RecordsError
from aibridge.records.opening import journal_folder
from aibridge.records.store import Store
from aibridge.records.tables import answer_ids, hidden_turns


def status_of(config: Records) -> dict[str, Any]:
    """Plain values, for a command; folds nothing, and makes no database. Raises RecordsError."""
    told: dict[str, Any] = {"database": str(config.url), "database_bytes": None, "rows": {}, "error": None}
    if not config.enabled:
        told["error"] = OFF
    store = Store(config.url)
    try:
        if store.exists:
            store.open()
            with store.reading() as connection:
                told["database_bytes"] = store.database.size(connection)
                for table in (*KEYS, hidden_turns, answer_ids):
                    told["rows"][table.name] = connection.scalar(
                        sa.select(sa.func.count()).select_from(table)
                    )
    except (DatabaseFailing, RecordsError) as error:
        told["error"] = str(error)
    finally:
        store.close()
    return {**told, "journal": str(journal_folder(config)), "journals": _journals(config)}


def _journals(config: Records) -> list[dict[str, Any]]:
    folder = journal_folder(config)
    found = []
    for journal in files.journals(folder) if folder.is_dir() else ():
        size = sum(files.size_of(path) for path in folder.glob(f"{journal}.*{files.SEGMENT}"))
        found.append({"id": journal, "bytes": size, "alive": _alive(folder / f"{journal}{files.MARKER}")})
    return found


def _alive(marker: Any) -> bool:
    """Whether its owner holds it."""
    if not marker.exists():
        return False
    held = files.hold(marker)
    if held is None:
        return True
    os.close(held)
    return False
