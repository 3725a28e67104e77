"""What carries a request to an upstream and brings the answer back: our own transport, or any of httpx2's.

httpx2's `Request` and `Response` cost a tenth of a short request, so our own transport is given the request
as it stands; every other one is reached through httpx2's interface, which ours has too.
"""

from collections.abc import AsyncIterator, Mapping
from functools import lru_cache
from typing import Any, Protocol

import httpx2
from msgspec import Struct

from aibridge.upstreams.headers import Pairs

Body = bytes | AsyncIterator[bytes]
Clocks = Mapping[str, float | None]
"""httpx2's timeouts in seconds: `connect`, `read`, `write`, `pool`."""
HAVE_BODIES = ("POST", "PUT", "PATCH")


class Sent(Struct, frozen=True):
    """A request."""

    method: str
    url: str
    headers: tuple[tuple[bytes, bytes], ...]
    """Without what frames the body."""
    body: Body
    clocks: Clocks
    length: bytes | None = None
    """Of a body that comes in pieces, where it is known."""

    @property
    def framing(self) -> Pairs:
        """The header that says how long the body is."""
        if isinstance(self.body, bytes):
            needed = self.body or self.method in HAVE_BODIES
            return [(b"content-length", b"%d" % len(self.body))] if needed else []
        if self.length is not None:
            return [(b"content-length", self.length)]
        return [(b"transfer-encoding", b"chunked")]


class Reply(Protocol):
    """An answer whose head is whole."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> Pairs:
        """As they came."""
        ...

    @property
    def stream(self) -> httpx2.AsyncByteStream:
        """The body as it travels; closing it lets go of the connection."""
        ...


class Carrier(Protocol):
    """What carries requests."""

    async def send(self, request: Sent) -> Reply:
        """The answer once its head is whole. Raises httpx2's exceptions."""
        ...


class Received(Struct, frozen=True):
    """A reply of an httpx2 transport."""

    status: int
    headers: Pairs
    stream: httpx2.AsyncByteStream


class Adapted(Struct, frozen=True):
    """Any transport of httpx2's as a carrier."""

    transport: httpx2.AsyncBaseTransport

    async def send(self, request: Sent) -> Received:
        """See Carrier."""
        body = request.body
        extensions: dict[str, Any] = {"timeout": request.clocks}
        response = await self.transport.handle_async_request(
            httpx2.Request(
                request.method,
                url_of(request.url),
                headers=[*request.headers, *request.framing],
                stream=httpx2.ByteStream(body) if isinstance(body, bytes) else _Upload(body),
                extensions=extensions,
            )
        )
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        return Received(response.status_code, response.headers.raw, response.stream)


class _Upload(httpx2.AsyncByteStream):
    """A request's body that is sent on as it comes."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces


@lru_cache(maxsize=256)
def url_of(url: str) -> httpx2.URL:
    """Parsed once: it costs as much as all the rest of a request's way through the transport."""
    return httpx2.URL(url)
