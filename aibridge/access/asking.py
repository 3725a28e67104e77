"""Asks the database in a thread, one question at a time: one that hangs does not pile up others behind it."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Asking:
    """One questioner."""

    def __init__(self, patience: float) -> None:
        """`patience`: seconds that an answer may take."""
        self._patience = patience
        self._running: asyncio.Future[Any] | None = None

    async def ask(self, work: Callable[..., T], *words: Any) -> T:
        """What `work` returns; raises what it raises, and TimeoutError while it does not answer."""
        if self._running is not None and not self._running.done():
            raise TimeoutError("the database still does not answer")
        loop = asyncio.get_running_loop()
        running = self._running = loop.run_in_executor(None, work, *words)
        running.add_done_callback(_seen)
        try:
            async with asyncio.timeout(self._patience):
                return await asyncio.shield(running)
        except TimeoutError:
            raise TimeoutError(f"the database did not answer within {self._patience:g} s") from None


def _seen(answer: "asyncio.Future[Any]") -> None:
    """A failure that comes too late for whoever asked is no news."""
    if not answer.cancelled():
        answer.exception()
