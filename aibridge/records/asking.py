"""Asks the database what a request waits for: off the loop, for a short time, and not at all while it fails.

A database that is away costs a request nothing but what it would have found; one request in a while tries
again. Threads that hang on a server that stands still are few, and do not keep the process from ending.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from aibridge.records.failures import DatabaseFailing

PATIENCE = 1.0
"""Seconds that one answer may take."""
REST = 2.0
"""Seconds without a question after one that failed."""
THREADS = 4

T = TypeVar("T")
Work = tuple[Callable[[], Any], asyncio.AbstractEventLoop, "asyncio.Future[Any]"]


class Asking:
    """A few threads, started with the first question."""

    def __init__(self) -> None:
        self._questions: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._rests_until = 0.0
        self.error: str | None = None
        """Why the last question had no answer."""

    async def ask(self, work: Callable[[], T]) -> T:
        """What `work` returns in a thread of ours. Raises DatabaseFailing, at once while it fails."""
        if self.error is not None:
            if time.monotonic() < self._rests_until:
                raise DatabaseFailing(self.error)
            self._rest()  # the others go on without, until this one knows
        try:
            async with asyncio.timeout(PATIENCE):
                answer = await self._in_thread(work)
        except TimeoutError:
            self.error = f"the database did not answer within {PATIENCE:g} s"
            self._rest()
            raise DatabaseFailing(self.error) from None
        except DatabaseFailing as error:
            self.error = str(error) or "the database failed"
            self._rest()
            raise
        self.error = None
        return answer

    def look(self, work: Callable[[], object]) -> None:
        """After a question without an answer: do `work` in this thread; once it succeeds all are asked again.

        For a thread that looks now and then: who asks nothing would else never learn. Raises DatabaseFailing.
        """
        if (failed := self.error) is None:
            return
        began = time.monotonic()
        work()
        if time.monotonic() - began < PATIENCE and self.error is failed:
            self.error = None

    def close(self) -> None:
        """End the threads that do not hang."""
        for _ in self._threads:
            self._questions.put(None)

    def _rest(self) -> None:
        self._rests_until = time.monotonic() + REST

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if not self._threads:
            self._threads = [
                threading.Thread(target=self._answer, name=f"aibridge-database-{number}", daemon=True)
                for number in range(THREADS)
            ]
            for thread in self._threads:
                thread.start()
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[T] = loop.create_future()
        self._questions.put((work, loop, answered))
        return await answered

    def _answer(self) -> None:
        while question := self._questions.get():
            work, loop, answered = question
            if answered.cancelled():  # nobody waits any more
                continue
            try:
                loop.call_soon_threadsafe(_settle, answered, *_outcome(work))
            except RuntimeError:  # the loop has ended
                continue


def _outcome(work: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return work(), None
    except BaseException as error:
        return None, error


def _settle(answered: "asyncio.Future[Any]", value: Any, error: BaseException | None) -> None:
    if answered.done():  # nobody waits any more
        return
    if error is None:
        answered.set_result(value)
    else:
        answered.set_exception(error)
