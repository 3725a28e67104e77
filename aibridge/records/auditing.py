"""The audit: a row for each change that somebody made, in the transaction of the change where it has one."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import Connection

from aibridge.ids import new_id
from aibridge.records.tables import audit

if TYPE_CHECKING:
    from aibridge.records.store import Store


def tell(connection: Connection, told: Mapping[str, Any]) -> None:
    """Write a row: `at`, `actor`, `action`, `subject`, `detail`."""
    connection.execute(sa.insert(audit), {"id": new_id(), **told})


def note(store: "Store", actor: str, action: str, subject: str, detail: Mapping[str, Any]) -> None:
    """Write a row about a change that was made just now. Raises DatabaseFailing."""
    with store.writing() as connection:
        told = {"actor": actor, "action": action, "subject": subject, "detail": dict(detail)}
        tell(connection, {"at": datetime.now(UTC), **told})
