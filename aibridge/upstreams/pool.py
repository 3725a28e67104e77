"""Connections to one origin (scheme, host, port): opened when needed, kept when free, at most so many.

Rules: the connection that was used last is used first. An exchange holds a slot from `acquire` until its
connection is free or gone, so that never more than `limit` are open. Where a kept connection turned out to
be stale the others, which were kept longer, are dropped too.
"""

import asyncio
import ssl
from functools import partial

import httpx2

from aibridge.upstreams.carrying import Clocks
from aibridge.upstreams.connection import Connection


class Origin:
    """The connections to one server."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None, limit: int | None) -> None:
        self._connect = partial(self._open, host, port, tls)
        self._slots = asyncio.Semaphore(limit) if limit else None
        self._all: set[Connection] = set()
        self._free: list[Connection] = []
        self._busy: set[Connection] = set()
        self._closed = False

    async def acquire(self, clocks: Clocks, *, fresh: bool = False) -> Connection:
        """A connection for one exchange; not a kept one where it has to be `fresh`.

        Raises PoolTimeout, ConnectTimeout, ConnectError.
        """
        if self._slots is not None:
            await _take_slot(self._slots, clocks.get("pool"))
        try:
            connection = self._kept(fresh=fresh) or await self._connect(clocks.get("connect"))
        except BaseException:
            self._give_slot()
            raise
        self._busy.add(connection)
        return connection

    def _kept(self, *, fresh: bool) -> Connection | None:
        while self._free:
            connection = self._free.pop()
            if fresh:
                connection.abort()
            elif not connection.closed:
                return connection
        return None

    async def _open(
        self, host: str, port: int, tls: ssl.SSLContext | None, timeout: float | None
    ) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                _, connection = await loop.create_connection(
                    lambda: Connection(self), host, port, ssl=tls, server_hostname=host if tls else None
                )
        except TimeoutError as error:
            raise httpx2.ConnectTimeout("no connection in time") from error
        except (OSError, UnicodeError) as error:  # refused, no such host or none at all, not trusted
            raise httpx2.ConnectError(str(error)) from error
        if self._closed:
            connection.abort()
        self._all.add(connection)
        return connection

    def take_back(self, connection: Connection) -> None:
        """It is free for the next exchange."""
        self._free.append(connection)
        self._leave(connection)

    def forget(self, connection: Connection) -> None:
        """It has ended."""
        self._all.discard(connection)
        if connection in self._free:
            self._free.remove(connection)
        self._leave(connection)

    def _leave(self, connection: Connection) -> None:
        if connection in self._busy:
            self._busy.remove(connection)
            self._give_slot()

    def _give_slot(self) -> None:
        if self._slots is not None:
            self._slots.release()

    async def aclose(self) -> None:
        """Close all connections, and wait until they are."""
        self._closed = True
        connections = list(self._all)
        for connection in connections:
            connection.abort()
        for connection in connections:
            await connection.gone


async def _take_slot(slots: asyncio.Semaphore, timeout: float | None) -> None:
    if not slots.locked():
        await slots.acquire()
        return
    try:
        async with asyncio.timeout(timeout):
            await slots.acquire()
    except TimeoutError:
        raise httpx2.PoolTimeout("all connections that the limit allows are in use") from None
