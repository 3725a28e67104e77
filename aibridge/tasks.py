"""The one place where tasks are started: each has a name, an owner, and is waited for.

A lint rule refuses `asyncio.create_task` elsewhere.
"""

import asyncio
from collections.abc import Awaitable, Coroutine, Generator
from typing import Any, TypeVar

T = TypeVar("T")


def start(work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
    """Start `work` as a task called `name`; the caller owns it and has to end it with `stop`."""
    return asyncio.get_running_loop().create_task(work, name=name)


def begun(work: Coroutine[Any, Any, None]) -> Awaitable[None] | None:
    """Run `work` here and now until it waits; what is left to wait for, None where it did not wait.

    Outside of any task: `work` must do without one, so no `asyncio.timeout` and the like.
    """
    try:
        waits_for = work.send(None)
    except StopIteration:
        return None
    return _Rest(work, waits_for)


class Aside:
    """A coroutine that goes on when what it waits for is there; a task costs 50 µs more.

    Outside of any task, as with `begun`. Nobody hears of its outcome.
    """

    def __init__(self, work: Coroutine[Any, Any, None]) -> None:
        self._work = work
        self._ended = False
        self._go_on(None)

    def end(self) -> None:
        """Stop it where it waits; it has ended when this returns."""
        self._ended = True
        self._work.close()

    def _go_on(self, _waited_for: Any) -> None:
        if self._ended:
            return
        try:
            self._work.send(None).add_done_callback(self._go_on)
        except StopIteration:
            self._ended = True


class _Rest:
    """What is left of a coroutine that waits already."""

    def __init__(self, work: Coroutine[Any, Any, None], waits_for: Any) -> None:
        self._work, self._waits_for = work, waits_for

    def __await__(self) -> Generator[Any, Any, None]:
        yield self._waits_for
        yield from self._work.__await__()


async def stop(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel `tasks` and wait until each has ended, however it ends.

    Cancels again every second: anyio's teardown can swallow one native cancel (seen with mcp 2.3).
    """
    pending = {task for task in tasks if not task.done()}
    for task in pending:
        task.cancel()
    if pending:
        await asyncio.sleep(0)  # most have ended then: `asyncio.wait` costs far more
        pending = {task for task in pending if not task.done()}
    while pending:
        _, pending = await asyncio.wait(pending, timeout=1)
        for task in pending:
            task.cancel()
    for task in tasks:
        if not task.cancelled():
            task.exception()  # marks it as seen
