"""A stream that passes by itself: each piece of the upstream's is written to the client as it arrives.

Between the two there is no task that would have to be woken: a piece is read, understood and written in
one turn of the event loop. What a piece means is the round's business, how it is written the reply's.
"""

from collections.abc import Awaitable, Callable
from contextvars import copy_context
from functools import partial
from time import perf_counter

from msgspec import Struct

from aibridge.bridge.ports import Answer
from aibridge.bridge.stopwatch import Stopwatch
from aibridge.dialects.base import Round

Write = Callable[[bytes], Awaitable[None] | None]
"""Writes at once; gives what to wait for before more is written, None where there is nothing to wait for."""


class _Pause(Struct, frozen=True):
    """Ends the pouring: until the client takes more, or for good where the round is over before the body."""

    until: Awaitable[None] | None


OVER = _Pause(None)


class Flow:
    """The rest of an answer, on its way to whoever lets it flow `into` a client."""

    def __init__(
        self, answer: Answer, take: Callable[[bytes], bytes], watch: Stopwatch, current: Round | None = None
    ) -> None:
        """`take`: the client's bytes for bytes of the upstream; `current`: what may end before the body."""
        self._answer, self._take, self._watch, self._current = answer, take, watch, current
        self.wrote = False
        self._own = 0.0
        """Seconds that pieces took us: changing the watch with each of them would cost as much again."""
        self._tail = b""
        self._failure: Exception | None = None

    def rest(self) -> bytes:
        """What the last piece gave, which is not written: more belongs to it. Raises why it did not end."""
        if self._failure is not None:
            raise self._failure
        return self._tail

    async def into(self, write: Write) -> None:
        """Write until the answer has ended, or fails: that is kept for `rest`. Raises CancelledError."""
        self._watch.to("upstream")
        # In the context of the exchange: pieces come in that of the connection.
        give: Callable[[bytes], _Pause | None] = partial(copy_context().run, partial(self._give, write))
        try:
            while (pause := await self._answer.pour(give)) is not None and pause.until is not None:
                self._watch.to("client")
                await pause.until
                self._watch.to("upstream")
        except Exception as error:
            self._failure = error
        finally:
            self._watch.moves(self._own, "upstream", "own")
        self._watch.to("own")

    def _give(self, write: Write, piece: bytes) -> _Pause | None:
        began = perf_counter()
        shown = self._take(piece)
        over = self._current is not None and self._current.ended
        held: Awaitable[None] | None = None
        if over:
            self._tail = shown
        elif shown:
            self.wrote = True
            held = write(shown)
        self._own += perf_counter() - began
        if held is None:
            return OVER if over else None
        return _Pause(held)
