"""Ids of answers, beside the records: for a month, shared by all processes.

Knows ids and bytes; where they lead upstream (bridge.pointing), or what was answered where no upstream keeps
it (bridge.keeping), is the engine's business.
"""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from aibridge.records.asking import Asking
from aibridge.records.glancing import Glancing
from aibridge.records.owners import PLAIN, Owners
from aibridge.records.store import Store
from aibridge.records.tables import answer_ids

KEPT_FOR = timedelta(days=30)
"""As long as upstreams keep answers."""
PURGES_EVERY = 3600.0
"""Seconds between two looks for what is too old."""


class AnswerIds:
    """What `bridge.ports.AnswerStore` asks for, in the records' database."""

    def __init__(self, store: Store, asking: Asking, owners: Owners = PLAIN) -> None:
        self._store, self._asking, self._owners = store, asking, owners
        self._kept = Glancing(store, asking, answer_ids, KEPT_FOR)
        self._purged = 0.0

    async def get(self, ids: Sequence[str]) -> Mapping[str, bytes]:
        """What is kept under `ids`. Raises DatabaseFailing."""
        return await self._kept.contents(ids)

    async def put(self, contents: Mapping[str, bytes], *, caller: str, user: str | None) -> None:
        """Keep `contents` by id: committed when this returns. Raises DatabaseFailing."""
        owner = self._owners.columns(caller, user)
        await self._asking.ask(lambda: self._put(contents, owner))

    async def delete(self, ids: Sequence[str]) -> None:
        """Keep nothing under `ids`: committed when this returns. Raises DatabaseFailing."""
        await self._asking.ask(lambda: self._delete(ids))

    def _put(self, contents: Mapping[str, bytes], owner: Mapping[str, str | None]) -> None:
        now = datetime.now(UTC)
        rows = [{"id": id_, "content": content, "kept_at": now, **owner} for id_, content in contents.items()]
        with self._store.writing() as connection:
            if time.monotonic() - self._purged > PURGES_EVERY or not self._purged:
                self._purged = time.monotonic()
                connection.execute(sa.delete(answer_ids).where(answer_ids.c.kept_at <= now - KEPT_FOR))
            connection.execute(sa.delete(answer_ids).where(answer_ids.c.id.in_(list(contents))))
            connection.execute(sa.insert(answer_ids), rows)

    def _delete(self, ids: Sequence[str]) -> None:
        with self._store.writing() as connection:
            connection.execute(sa.delete(answer_ids).where(answer_ids.c.id.in_(ids)))
