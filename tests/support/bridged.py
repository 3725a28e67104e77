"""The bridge in the test's own process, on a real socket: its tasks can be counted, its records read."""

import asyncio
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from starlette.types import Receive, Scope, Send

from aibridge.app import App, create_app
from aibridge.config import Source, parse
from tests.support.serving import Served, serving
from tests.support.waiting import eventually

Json = dict[str, Any]


class Watched:
    """Hands on to the application, and knows the loop that it runs in."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.loop: asyncio.AbstractEventLoop | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        self.loop = asyncio.get_running_loop()
        await self.app(scope, receive, send)


@dataclass(frozen=True, slots=True)
class Bridged(Served):
    """Where the bridge is reached, and what it does inside."""

    folder: Path
    watched: Watched

    @property
    def app(self) -> App:
        """The application."""
        return self.watched.app

    def tasks(self) -> list[str]:
        """The names of the tasks that serve requests: the loop's own and the tool servers' are left out."""
        loop = self.watched.loop
        assert loop is not None
        names = (task.get_name() for task in tuple(asyncio.all_tasks(loop)))
        return sorted(name for name in names if not name.startswith("mcp"))

    def rows(self, table: str = "exchanges") -> list[Json]:
        """The rows of a table of the records, oldest first."""
        self.app.rooms().recorder.flush()
        with closing(sqlite3.connect(self.folder / "aibridge.db")) as database:
            database.row_factory = sqlite3.Row
            order = "started_at" if table == "exchanges" else "rowid"
            return [dict(row) for row in database.execute(f"SELECT * FROM {table} ORDER BY {order}")]

    def ended(self) -> Json:
        """The newest exchange, once it has ended."""

        def last() -> Json | None:
            rows = self.rows()
            return rows[-1] if rows and rows[-1]["status"] != "running" else None

        row = eventually(last, what="the end of the exchange")
        assert row is not None
        return row


def configuration(folder: Path, base_url: str, **parts: Any) -> Json:
    """One upstream, records in `folder`, and `parts` of the configuration over that."""
    return {
        "upstreams": {"up": {"base_url": base_url}},
        "records": {"url": f"sqlite:///{folder / 'aibridge.db'}", "journal": str(folder / "journal")},
        **parts,
    }


@contextmanager
def bridged(
    folder: Path,
    config: Mapping[str, Any],
    tools: Mapping[str, object] | None = None,
    transport: httpx2.AsyncBaseTransport | None = None,
    *,
    awaited: Collection[str] | None = None,
) -> Iterator[Bridged]:
    """The bridge until the block ends; it begins when its MCP servers, or those `awaited`, are connected."""
    source = Source(lambda: parse(config))  # a reload finds it unchanged
    watched = Watched(create_app(config, tools=tools or {}, transport=transport, source=source))
    with serving(watched) as served:
        bridge = Bridged(served.port, folder, watched)
        eventually(lambda: _connected(watched.app, awaited), what="the connection to the tools")
        yield bridge


def _connected(app: App, awaited: Collection[str] | None) -> bool:
    states = app.states()["mcp_servers"]
    return all(states[name]["state"] == "connected" for name in (states if awaited is None else awaited))
