"""Waiting across threads and loops: an upstream or a tool goes on when the test says so."""

import asyncio
import threading
from types import TracebackType

PATIENCE = 60


class Gate:
    """Closed until `open`; the end of its block opens it, so that nothing waits for ever."""

    def __init__(self) -> None:
        self._opened = threading.Event()
        self._reached = threading.Event()

    def __enter__(self) -> "Gate":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        self.open()

    @property
    def is_open(self) -> bool:
        """Whether it was opened."""
        return self._opened.is_set()

    def open(self) -> None:
        """Let everybody through."""
        self._opened.set()

    def pass_through(self) -> None:
        """Wait until it is open."""
        self._reached.set()
        assert self._opened.wait(PATIENCE), "the gate was never opened"

    def await_reached(self) -> None:
        """Wait until somebody stands before it."""
        assert self._reached.wait(PATIENCE), "nobody came to the gate"

    async def wait(self) -> str:
        """As a tool: answer once it is open."""
        self._reached.set()
        await asyncio.to_thread(self.pass_through)
        return "the gate is open"
