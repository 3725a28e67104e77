"""How long a call may take: so many seconds between two signs of life, and so many in all."""

import asyncio
from types import TracebackType
from typing import Self


class CallClock:
    """`async with clock:` raises TimeoutError when the time is over; `alive()` begins the silence anew."""

    def __init__(self, silence: float, total: float) -> None:
        """Both in seconds."""
        self._silence, self._total = silence, total
        self._now = asyncio.get_running_loop().time
        self._end = self._now() + total
        self._timeout = asyncio.timeout_at(self._next())
        self._entered = False

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        self._entered = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entered = False
        await self._timeout.__aexit__(kind, error, trace)

    def alive(self) -> None:
        """A sign of life came; ignored where the call is over."""
        if self._entered and not self._timeout.expired():
            self._timeout.reschedule(self._next())

    @property
    def verdict(self) -> str:
        """What took too long, as the end of "The tool …"."""
        if self._now() >= self._end:
            return f"did not end within {self._total:g} s"
        return f"gave no answer within {self._silence:g} s"

    def _next(self) -> float:
        return min(self._end, self._now() + self._silence)
