"""Deletes exchanges with all that belongs to them, a batch in a transaction."""

from collections.abc import Collection, Mapping

import sqlalchemy as sa
from sqlalchemy import Column, Connection, Table

from aibridge.records.summaries import outdate_of
from aibridge.records.tables import (
    exchanges,
    failed_attempts,
    prompts,
    thoughts,
    token_usages,
    tool_calls,
)

BATCH = 500
"""Exchanges that one transaction deletes: some milliseconds, in which others wait."""
KEYS: Mapping[Table, Column[str]] = {
    prompts: prompts.c.exchange_id,
    thoughts: thoughts.c.exchange_id,
    tool_calls: tool_calls.c.exchange_id,
    failed_attempts: failed_attempts.c.exchange_id,
    token_usages: token_usages.c.exchange_id,
    exchanges: exchanges.c.id,
}
"""What belongs to an exchange, and by which column; the exchange last: a stop in between is made good."""


def delete_exchanges(connection: Connection, ids: Collection[str]) -> dict[str, int]:
    """Delete the exchanges `ids`, at most BATCH; how many rows of which table there were."""
    outdate_of(connection, exchanges.c.id.in_(ids))
    return {
        table.name: connection.execute(sa.delete(table).where(key.in_(ids))).rowcount
        for table, key in KEYS.items()
    }
