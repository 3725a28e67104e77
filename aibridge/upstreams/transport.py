"""The httpx2 transport that requests go through: HTTP/1.1 over pooled connections, on asyncio and httptools.

httpx2's own transport costs several times as much on streams; its interface costs microseconds, so any
transport fits here: this one, httpx2's own, a mock. Raises httpx2's exceptions. Keeps no cookies, follows no
redirects, reads neither netrc nor proxies from the environment, decodes no content. The request's headers
are sent as they are, none is added.

Clocks (`extensions["timeout"]`): `pool`, `connect`; `write`: the socket takes nothing; `read`: between two
pieces of a body. The time until an answer begins is the caller's: it spans more than one try.
"""

import ssl
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from functools import lru_cache, partial
from typing import Any, NamedTuple

import httpx2

from aibridge import tasks
from aibridge.upstreams.carrying import Adapted, Clocks, Reply, Sent, url_of
from aibridge.upstreams.connection import Connection
from aibridge.upstreams.http1 import head_of, request_body, request_head, whole_request
from aibridge.upstreams.incoming import Incoming
from aibridge.upstreams.pool import Origin

PORTS = {"http": 80, "https": 443}
Upload = Callable[[Connection, Incoming], Coroutine[Any, Any, None]]
"""What sends a body as it comes."""


class Http1Transport(httpx2.AsyncBaseTransport):
    """Pooled keep-alive connections over HTTP/1.1; at most `limit` to an origin, else any number."""

    def __init__(self, tls: ssl.SSLContext | None = None, limit: int | None = None) -> None:
        self._tls, self._limit = tls, limit
        self._origins: dict[tuple[str, bytes, int | None], Origin] = {}

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send `request`; the response's stream has to be closed, also by who does not read it."""
        clocks: Clocks = request.extensions.get("timeout", {})
        place = Place.of(request.url)
        if isinstance(request.stream, httpx2.ByteStream):
            data = whole_request(request, request.stream)
            reply = await self._exchange(place, request.method, data, clocks)
        else:
            head, upload = request_head(request), partial(_upload, request)
            reply = await self._exchange(place, request.method, head, clocks, upload)
        return httpx2.Response(reply.status, headers=reply.headers, stream=reply)

    async def send(self, request: Sent) -> Reply:
        """The same without httpx2's objects; a body that comes in pieces goes by them."""
        if not isinstance(request.body, bytes):
            return await Adapted(self).send(request)
        place = _place(request.url)
        framing = b"".join([b"%b: %b\r\n" % pair for pair in request.framing])
        data = head_of(request.method, place.path, request.headers) + framing + b"\r\n" + request.body
        return await self._exchange(place, request.method, data, request.clocks)

    async def _exchange(
        self, place: "Place", method: str, data: bytes, clocks: Clocks, upload: Upload | None = None
    ) -> Incoming:
        """Send the whole request or, with an `upload`, its head; the answer once its head is whole."""
        origin = self._origin(place)
        connection = await origin.acquire(clocks)
        incoming = Incoming(connection, method, clocks.get("read"))
        try:
            return await _ask(data, connection, incoming, clocks, upload)
        except (httpx2.NetworkError, httpx2.RemoteProtocolError):
            # A kept connection that the server had closed meanwhile: nothing was received, and RFC 9112
            # (9.3.1) allows one more try.
            if upload is not None or not (connection.used_before and incoming.untouched):
                raise
        connection = await origin.acquire(clocks, fresh=True)
        return await _ask(data, connection, Incoming(connection, method, clocks.get("read")), clocks)

    def _origin(self, place: "Place") -> Origin:
        origin = self._origins.get(place.origin)
        if origin is None:
            scheme, host, port = place.origin
            if scheme not in PORTS:
                raise httpx2.UnsupportedProtocol(f"'{scheme}' is neither http nor https")
            tls = self._trust() if scheme == "https" else None
            origin = Origin(host.decode(), port or PORTS[scheme], tls, self._limit)
            self._origins[place.origin] = origin
        return origin

    def _trust(self) -> ssl.SSLContext:
        """Whom we trust: the system's store by default."""
        if self._tls is None:
            self._tls = httpx2.create_ssl_context()
        self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls

    async def aclose(self) -> None:
        """Close all connections; answers that are underway break."""
        for origin in self._origins.values():
            await origin.aclose()


class Place(NamedTuple):
    """Where a URL leads."""

    origin: tuple[str, bytes, int | None]
    """Scheme, host, port."""
    path: bytes
    """With the query."""

    @classmethod
    def of(cls, url: httpx2.URL) -> "Place":
        """See Place."""
        return cls((url.scheme, url.raw_host, url.port), url.raw_path)


@lru_cache(maxsize=256)
def _place(url: str) -> Place:
    return Place.of(url_of(url))


async def _ask(
    data: bytes, connection: Connection, incoming: Incoming, clocks: Clocks, upload: Upload | None = None
) -> Incoming:
    connection.begin(incoming, clocks.get("write"))
    connection.write(data)
    if upload is not None:
        incoming.upload = tasks.start(upload(connection, incoming), "upload")
    await incoming.begun()
    return incoming


async def _upload(request: httpx2.Request, connection: Connection, incoming: Incoming) -> None:
    """Send the request's body as it comes; what it raises is what the caller gets."""
    try:
        async with aclosing(request_body(request)) as pieces:
            async for piece in pieces:
                connection.write(piece)
                await connection.drained()
    except Exception as error:
        incoming.failed(error)
