"""One server with a session for each credential: opened when a caller first brings it, closed when idle.

A credential is the values of the client's headers that the configuration names (`forward_headers`). A session
is only ever used for the credential that it was opened with.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from aibridge import tasks
from aibridge.tools.definitions import NOTHING, Listing
from aibridge.tools.server import Server
from aibridge.tools.vitals import Vitals

MOST = 100
"""Sessions of one server at a time."""
IDLE = 600.0
"""Seconds after which a session that nobody used is closed."""
FULL = "All of its sessions are in use by other callers."

Headers = Iterable[tuple[bytes, bytes]]
Credential = tuple[tuple[str, str], ...]
"""Header names and values, sorted by name; empty where the client sent none of them."""


OUR_KEYS = b"sk-aib-"
"""A key of aibridge's own, which no server may ever see."""


class Branches:
    """The sessions of one server. `open_with` makes a Server that was not started yet."""

    def __init__(
        self,
        name: str,
        forwarded: Sequence[str],
        open_with: Callable[[Credential], Server],
        *,
        most: int | None = None,
        idle: float = IDLE,
    ) -> None:
        self.name = name
        self._forwarded = frozenset(header.lower() for header in forwarded)
        self._open_with, self._most, self._idle = open_with, most or MOST, idle
        self._servers: OrderedDict[Credential, tuple[Server, float]] = OrderedDict()
        self._closing: set[asyncio.Task[None]] = set()
        self._leaving: list[Server] = []
        self._closed = Vitals()

    def credential(self, headers: Headers) -> Credential:
        """What of the client's `headers` is handed on."""
        found: dict[str, list[str]] = {}
        for key, value in headers:
            name = key.decode("latin-1").lower()
            if name in self._forwarded and OUR_KEYS not in value:
                found.setdefault(name, []).append(value.decode("latin-1").strip())
        return tuple((name, ", ".join(values)) for name, values in sorted(found.items()))

    def at(self, credential: Credential) -> Server | None:
        """The session of `credential`, opened where there is none; None where there are too many."""
        known = self._servers.get(credential)
        if known is None:
            if len(self._servers) >= self._most and not self._make_room():
                return None
            server = self._open_with(credential)
            server.start()
        else:
            server = known[0]
        self._servers[credential] = (server, time.monotonic())
        self._servers.move_to_end(credential)
        return server

    def sweep(self) -> None:
        """Close the sessions that nobody used for long."""
        before = time.monotonic() - self._idle
        for credential, (server, used) in tuple(self._servers.items()):
            if used < before and not server.vitals.running:
                self._close(credential)

    async def aclose(self) -> None:
        """Close all sessions."""
        for credential in tuple(self._servers):
            self._close(credential)
        if self._closing:
            await asyncio.wait(self._closing)

    def any_listing(self) -> Listing:
        """The tools as the session that was used last lists them; callers may see others."""
        listings = (server.listing() for server, _ in reversed(self._servers.values()))
        return next((listing for listing in listings if listing is not NOTHING), NOTHING)

    def told(self) -> dict[str, Any]:
        """For `/readyz`: the best state of any session, `idle` where none is open, and how many there are."""
        servers = [server for server, _ in self._servers.values()]
        states = {server.state for server in servers}
        state = next((each for each in ("connected", "connecting", "unavailable") if each in states), "idle")
        errors = [server.error for server in reversed(servers) if server.error]
        error = errors[0] if errors and state != "connected" else None
        vitals = Vitals.sum([self._closed, *(server.vitals for server in (*servers, *self._leaving))]).told()
        return {"state": state, "error": error, "sessions": len(servers), **vitals}

    async def _end(self, server: Server) -> None:
        self._leaving.append(server)
        await server.aclose()
        self._leaving.remove(server)
        self._closed = Vitals.sum([self._closed, server.vitals])

    def _make_room(self) -> bool:
        for credential, (server, _) in self._servers.items():
            if not server.vitals.running:
                self._close(credential)
                return True
        return False

    def _close(self, credential: Credential) -> None:
        server, _ = self._servers.pop(credential)
        task = tasks.start(self._end(server), f"mcp:{self.name}:close")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
