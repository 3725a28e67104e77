"""What a stdio server writes to its stderr, line by line into the log under the server's name.

A pipe that the event loop reads: no thread that a surviving grandchild could keep waiting for ever.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TextIO

import structlog

LONGEST_LINE = 4096
"""Bytes; a longer line is logged in pieces."""
LAST_WORDS = 0.5
"""Seconds that are waited for the end of stderr once the server has ended."""

log = structlog.get_logger(__name__)


@asynccontextmanager
async def logged_stderr(server: str, mask: Callable[[str], str]) -> AsyncIterator[TextIO]:
    """A file to give to the child as its stderr; each line passes `mask` on its way to the log.

    Close the file as soon as the child has it, else the end of its stderr is never seen.
    """
    if sys.platform == "win32":  # its event loop reads no anonymous pipes
        yield sys.stderr
        return
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as file:
        loop = asyncio.get_running_loop()
        lines = _Lines(lambda line: log.info("mcp server wrote", server=server, line=mask(line)))
        pipe, _ = await loop.connect_read_pipe(lambda: lines, os.fdopen(reading, "rb", buffering=0))
        try:
            yield file
            file.close()
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORDS):
                    await lines.ended.wait()
        finally:
            pipe.close()


class _Lines(asyncio.Protocol):
    """Cuts what arrives into lines."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._rest = b""
        self.ended = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._line(line)
        while len(self._rest) > LONGEST_LINE:
            self._line(self._rest[:LONGEST_LINE])
            self._rest = self._rest[LONGEST_LINE:]

    def connection_lost(self, exc: Exception | None) -> None:
        self._line(self._rest)
        self.ended.set()

    def _line(self, line: bytes) -> None:
        if text := line.decode("utf-8", "replace").rstrip():
            self._tell(text)
