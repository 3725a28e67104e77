"""The requests that are being served: a stop lets them end before what they use is closed.

Servers differ: uvicorn cancels what outlives its grace and goes on at once, others wait or do neither.
"""

import asyncio

from starlette.types import ASGIApp, Receive, Scope, Send

from aibridge import tasks
from aibridge.errors import BridgeError, Kind
from aibridge.web.reply import send_error
from aibridge.web.shapes import shape_of

RETRY_AFTER = 1
"""Seconds that a client is told to wait while aibridge stops: then another, or the next one, listens."""
ENDING = 5.0
"""Seconds that cancelled requests have to say goodbye; the server's own grace for work lies before."""


class Underway:
    """ASGI middleware that knows the tasks which serve requests."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._tasks: set[asyncio.Task[None]] = set()
        self._refusing = False

    def refuse(self) -> None:
        """Serve no further request."""
        self._refusing = True

    def running(self) -> frozenset[asyncio.Task[None]]:
        """The tasks that serve requests now."""
        return frozenset(self._tasks)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if self._refusing:
            stopping = BridgeError(Kind.OVERLOADED, "aibridge is being stopped", retry_after=RETRY_AFTER)
            await send_error(send, stopping, shape_of(scope.get("path", "")))
            return
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            begun = _begun(send)
            if begun is None:
                raise
            task.uncancel()  # the request ends here: nothing is left to cancel, or to log as a failure
            if not begun:
                stopped = BridgeError(Kind.OVERLOADED, "aibridge was stopped; ask again")
                await send_error(send, stopped, shape_of(scope.get("path", "")))
        finally:
            self._tasks.discard(task)

    async def end(self) -> None:
        """Wait for the requests that run, and cancel those that do not end."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=ENDING)
            await tasks.stop(*self._tasks)


def _begun(send: Send) -> bool | None:
    """Whether the response has begun; uvicorn knows it, of others None.

    To note it in a `send` of our own would cost each piece of a stream its short way (`reply`).
    """
    known: bool | None = getattr(getattr(send, "__self__", None), "response_started", None)
    return known
