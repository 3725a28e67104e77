"""An upstream's answer: its status and headers, then its body piece by piece.

Until the first byte of its body came it may be another one: where it breaks off or is empty before, whoever
sent the request is asked for a new one.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

import httpx2

from aibridge.upstreams.carrying import Reply
from aibridge.upstreams.failures import AttemptError, broken, empty
from aibridge.upstreams.headers import Pairs
from aibridge.upstreams.incoming import Incoming

T = TypeVar("T")
Renew = Callable[[AttemptError], Awaitable[Reply | None]]

IDENTITY = b"identity"


class Answer:
    """An upstream's answer whose first status is known."""

    notes: Sequence[str] = ()
    """It was asked as it stands."""

    def __init__(self, upstream: str, reply: Reply, renew: Renew | None, *, verbatim: bool) -> None:
        """`renew`: what gives another answer; None where this one is final, also without a body."""
        self._upstream, self._renew, self._verbatim = upstream, renew, verbatim
        self._begun = False
        self._headers: Pairs = []
        self.headers: Sequence[tuple[bytes, bytes]] = self._headers
        """The same list as long as the answer lives, whatever answer it is in the end."""
        self._take(reply)

    def _take(self, reply: Reply) -> None:
        self.status = reply.status
        self._headers[:] = reply.headers
        told = {name.lower(): value for name, value in reply.headers}
        self.media_type = told.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
        # Asked for identity; an upstream that encodes all the same is decoded by httpx2.
        encoded = not self._verbatim and told.get(b"content-encoding", IDENTITY) != IDENTITY
        self._pieces: AsyncIterator[bytes] = _decoded(reply) if encoded else aiter(reply.stream)

    @property
    def ended(self) -> bool:
        """True where our own transport has given the last piece; others are read to see that."""
        return isinstance(self._pieces, Incoming) and self._pieces.exhausted

    async def read(self) -> bytes:
        """The next piece of the body as it arrives; empty at the end.

        Raises BridgeError when it breaks; before the first byte also UpstreamRefused.
        """
        if not self._begun:
            return await self._first()
        try:
            return await anext(self._pieces, b"")
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            raise broken(self._upstream, error) from error

    async def pour(self, take: Callable[[bytes], T | None]) -> T | None:
        """Give each piece that follows the first to `take`, at once where the transport is our own.

        Ends with what `take` gave, at the first that is not None; None at the body's end. Raises what `take`
        does, and as `read`.
        """
        if isinstance(self._pieces, Incoming):
            try:
                return await self._pieces.pour(take)
            except httpx2.TransportError as error:
                raise broken(self._upstream, error) from error
        while piece := await self.read():
            if (given := take(piece)) is not None:
                return given
        return None

    async def _first(self) -> bytes:
        """The first piece, of this answer or of one that took its place."""
        while True:
            cause: Exception | None = None
            try:
                piece = await anext(self._pieces, b"")
                if piece or self._verbatim or self._renew is None:
                    self._begun = True
                    return piece
                failure = empty(self._upstream)
            except (httpx2.TransportError, httpx2.DecodingError) as error:
                failure, cause = broken(self._upstream, error), error
            reply = await self._renew(failure) if self._renew else None
            if reply is None:
                raise failure from cause
            self._take(reply)

    async def read_all(self, limit: int) -> bytes:
        """The body, cut at `limit` bytes."""
        body = b""
        while len(body) < limit and (piece := await self.read()):
            body += piece
        return body[:limit]


def _decoded(reply: Reply) -> AsyncIterator[bytes]:
    return httpx2.Response(reply.status, headers=reply.headers, stream=reply.stream).aiter_bytes()
