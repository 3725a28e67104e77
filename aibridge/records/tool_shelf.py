"""What is kept of MCP servers beside the records: their last tool lists, and the pins of definitions.

Knows names and texts; what is in them is the business of the tools' room (tools.keeping).
"""

from collections.abc import Mapping
from datetime import UTC, datetime

import sqlalchemy as sa

from aibridge.records import engines
from aibridge.records.asking import Asking
from aibridge.records.store import Store
from aibridge.records.tables import tool_lists, tool_pins


class ToolShelf:
    """What `tools.Shelf` asks for, in the records' database. Its methods raise DatabaseFailing."""

    def __init__(self, store: Store, asking: Asking) -> None:
        self._store, self._asking = store, asking

    async def kept_list(self, server: str) -> str | None:
        """The text that was kept for `server`."""
        return await self._asking.ask(lambda: self._kept_list(server))

    async def keep_list(self, server: str, text: str) -> None:
        """Keep `text` in the place of what was kept."""
        await self._asking.ask(lambda: self._keep_list(server, text))

    async def pins(self, server: str) -> Mapping[str, str]:
        """The pinned texts of the tools of `server`, by the tools' own names."""
        return await self._asking.ask(lambda: self._pins(server))

    async def pin(self, server: str, texts: Mapping[str, str], *, replace: bool) -> None:
        """Pin `texts` by tool name; a pin that exists stays unless `replace`."""
        if texts:
            await self._asking.ask(lambda: self._pin(server, texts, replace))

    def close(self) -> None:
        """Close the database; for a command that opened it for this alone."""
        self._asking.close()
        self._store.close()

    def _kept_list(self, server: str) -> str | None:
        with self._store.reading() as connection:
            text = sa.select(tool_lists.c.content).where(tool_lists.c.server == server)
            found: str | None = connection.scalar(text)
            return found

    def _keep_list(self, server: str, text: str) -> None:
        row = {"server": server, "content": text, "kept_at": datetime.now(UTC)}
        with self._store.writing() as connection:
            connection.execute(engines.upsert(self._dialect, tool_lists, row.keys(), ()), row)

    def _pins(self, server: str) -> Mapping[str, str]:
        with self._store.reading() as connection:
            columns = sa.select(tool_pins.c.tool, tool_pins.c.definition)
            rows = connection.execute(columns.where(tool_pins.c.server == server))
            return {str(tool): str(definition) for tool, definition in rows}

    def _pin(self, server: str, texts: Mapping[str, str], replace: bool) -> None:
        now = datetime.now(UTC)
        rows = [
            {"server": server, "tool": tool, "definition": text, "pinned_at": now}
            for tool, text in texts.items()
        ]
        insert = (
            engines.upsert(self._dialect, tool_pins, rows[0].keys(), ())
            if replace
            else engines.insert_once(self._dialect, tool_pins)
        )
        with self._store.writing() as connection:
            connection.execute(insert, rows)

    @property
    def _dialect(self) -> str:
        return self._store.engine.dialect.name
