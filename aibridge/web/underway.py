"""The requests that are being served: a stop lets them end before what they use is closed.

Servers differ: uvicorn cancels what outlives its grace and goes on at once, others wait or do neither.
"""

import asyncio

from starlette.types import ASGIApp, Receive, Scope, Send

from aibridge import tasks

ENDING = 5.0
"""Seconds that cancelled requests have to say goodbye; the server's own grace for work lies before."""


class Underway:
    """ASGI middleware that knows the tasks which serve requests."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._app(scope, receive, send)
        finally:
            self._tasks.discard(task)

    async def end(self) -> None:
        """Wait for the requests that run, and cancel those that do not end."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=ENDING)
            await tasks.stop(*self._tasks)
