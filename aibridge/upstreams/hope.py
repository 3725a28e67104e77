"""Which refusal says most where several keys were refused: the one whose key can soon be asked again.

A 429 passes by itself, and clients retry it; 401, 402 and 403 speak of keys of ours. So a 429 is kept open,
unread, while other keys are tried.
"""

from aibridge.upstreams.carrying import Reply
from aibridge.upstreams.credentials import BUSY_REST, REFUSED
from aibridge.upstreams.retrying import told_wait


class Hope:
    """The 429 of one request whose key is the first to be free."""

    __slots__ = ("kept",)

    def __init__(self) -> None:
        self.kept: Reply | None = None

    def over(self, reply: Reply) -> Reply:
        """`reply`, or what was kept where that says more."""
        kept = self.kept
        if kept is None or reply.status not in {*REFUSED, 429}:
            return reply
        return kept if reply.status != 429 or _wait(kept) <= _wait(reply) else reply

    async def keep(self, reply: Reply) -> None:
        """Keep a refusal that another key is tried after, or let go of it."""
        if reply.status == 429 and self.over(reply) is reply:
            await self.drop()
            self.kept = reply
        else:
            await reply.stream.aclose()

    async def drop(self) -> None:
        """Let go of what was kept."""
        kept, self.kept = self.kept, None
        if kept is not None:
            await kept.stream.aclose()

    async def choose(self, reply: Reply) -> Reply:
        """What is handed on; the other one is let go of."""
        chosen = self.over(reply)
        if chosen is not reply:
            await reply.stream.aclose()
            self.kept = None
        else:
            await self.drop()
        return chosen


def _wait(busy: Reply) -> float:
    """The seconds after which a key is free."""
    told = told_wait(busy.headers)
    return BUSY_REST if told is None else told
