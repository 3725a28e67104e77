"""The workers of one port ask each other: each answers questions on a socket in their common folder.

What a question means is the app's business; here a word goes out and bytes come back. One that does not
answer in time is left out.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 2.0
"""Seconds that a worker has for its answer to a question that asks for no work."""
Answer = Callable[[], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class Worker:
    """Which of several processes this is."""

    index: int
    count: int
    folder: Path
    """Where the sockets of all are; nobody else may look into it."""

    def told(self) -> dict[str, int]:
        """For `/readyz`."""
        return {"index": self.index, "of": self.count, "pid": os.getpid()}

    def path(self, index: int) -> Path:
        """Where the worker `index` answers."""
        return self.folder / f"{index}.sock"


class Peers:
    """The other workers, and what they may ask of this one."""

    def __init__(self, worker: Worker, answers: Mapping[str, Answer]) -> None:
        self._worker, self._answers = worker, answers
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Answer from now on; in the place of one that died."""
        path = self._worker.path(self._worker.index)
        path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, path)

    async def aclose(self) -> None:
        """Answer no more."""
        if self._server is not None:
            self._server.close()

    async def ask(self, question: str, patience: float = PATIENCE) -> dict[int, bytes | None]:
        """The answers of all others by index; None of one that gave none within `patience` seconds."""
        others = [index for index in range(self._worker.count) if index != self._worker.index]
        answers = await asyncio.gather(*(self._ask(index, question, patience) for index in others))
        return dict(zip(others, answers, strict=True))

    async def _ask(self, index: int, question: str, patience: float) -> bytes | None:
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(patience):
                reader, writer = await asyncio.open_unix_connection(self._worker.path(index))
                try:
                    writer.write(question.encode() + b"\n")
                    told = await reader.read()
                finally:
                    writer.close()
                return told or None
        return None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, ValueError):
            question = (await reader.readline()).decode().strip()
            if question in self._answers:
                writer.write(await self._answers[question]())
                await writer.drain()
        writer.close()
