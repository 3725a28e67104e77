"""What is kept under keys, for requests that wait for it: read at once, where the database can.

SQLAlchemy's way to a row in a file of this machine costs some twenty times the row, and a thread as much
again: for those it only writes the texts. What cannot be told at once is asked in the usual way (`asking`).
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Table

from aibridge.records.asking import Asking
from aibridge.records.store import Store
from aibridge.records.tables import UtcTime

MOST = 512
"""Keys of one text. There is a text for each power of two, so that the driver knows them again."""


class Glancing:
    """At a table with a column of keys, `content` and `kept_at`."""

    def __init__(self, store: Store, asking: Asking, table: Table, kept_for: timedelta) -> None:
        self._store, self._asking, self._kept_for = store, asking, kept_for
        self._kept = _kept(table)
        self._dialect = store.engine.dialect
        self._stored = UtcTime().dialect_impl(self._dialect).bind_processor(self._dialect)
        self._texts: dict[int, str] = {}

    async def contents(self, keys: Sequence[Any]) -> Mapping[Any, bytes]:
        """What is kept under `keys`. Raises DatabaseFailing."""
        if self._asking.error is None and (found := self._at_once(keys)) is not None:
            return found
        return await self._asking.ask(lambda: self._asked(keys))

    def _asked(self, keys: Sequence[Any]) -> Mapping[Any, bytes]:
        wanted = {"keys": keys, "since": datetime.now(UTC) - self._kept_for}
        with self._store.reading() as connection:
            return {key: bytes(content) for key, content in connection.execute(self._kept, wanted)}

    def _at_once(self, keys: Sequence[Any]) -> Mapping[Any, bytes] | None:
        """The same; None where the database cannot say at once."""
        since: Any = datetime.now(UTC) - self._kept_for
        since = self._stored(since) if self._stored else since
        found: dict[Any, bytes] = {}
        for at in range(0, len(keys), MOST):
            some = keys[at : at + MOST]
            size = 1 << (len(some) - 1).bit_length()
            text = self._texts.get(size) or self._text(size)
            again = [some[0]] * (size - len(some))
            rows = self._store.database.glance(text, (*some, *again, since))
            if rows is None:
                return None
            found.update(rows)
        return found

    def _text(self, size: int) -> str:
        """The question for so many keys, which come before the time."""
        question = self._kept.params(keys=[b""] * size, since=datetime.now(UTC))
        compiled = question.compile(dialect=self._dialect, compile_kwargs={"render_postcompile": True})
        self._texts[size] = str(compiled)
        return self._texts[size]


def _kept(table: Table) -> sa.Select[Any]:
    """Keys and contents under `keys`, kept after `since`: built once, which costs as much as to ask."""
    [key] = table.primary_key
    return sa.select(key, table.c.content).where(
        key.in_(sa.bindparam("keys", expanding=True)),
        table.c.content.is_not(None),
        table.c.kept_at > sa.bindparam("since"),
    )
