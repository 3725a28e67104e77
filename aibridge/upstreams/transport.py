"""The httpx2 transport that requests go through: HTTP/1.1 over pooled connections, on asyncio and httptools.

httpx2's own transport costs several times as much on streams; its interface costs microseconds, so any
transport fits here: this one, httpx2's own, a mock. Raises httpx2's exceptions. Keeps no cookies, follows no
redirects, reads neither netrc nor proxies from the environment, decodes no content. The request's headers
are sent as they are, none is added.

Clocks (`extensions["timeout"]`): `pool`, `connect`; `write`: the socket takes nothing; `read`: between two
pieces of a body. The time until an answer begins is the caller's: it spans more than one try.
"""

import ssl
from contextlib import aclosing

import httpx2

from aibridge import tasks
from aibridge.upstreams.connection import Connection
from aibridge.upstreams.http1 import request_body, request_head, whole_request
from aibridge.upstreams.incoming import Incoming
from aibridge.upstreams.pool import Clocks, Origin

PORTS = {"http": 80, "https": 443}


class Http1Transport(httpx2.AsyncBaseTransport):
    """Pooled keep-alive connections over HTTP/1.1; at most `limit` to an origin, else any number."""

    def __init__(self, tls: ssl.SSLContext | None = None, limit: int | None = None) -> None:
        self._tls, self._limit = tls, limit
        self._origins: dict[tuple[str, bytes, int | None], Origin] = {}

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send `request`; the response's stream has to be closed, also by who does not read it."""
        clocks: Clocks = request.extensions.get("timeout", {})
        origin, head = self._origin(request.url), _first_bytes(request)
        connection = await origin.acquire(clocks)
        incoming = Incoming(connection, request.method, clocks.get("read"))
        try:
            return await _ask(request, head, connection, incoming)
        except (httpx2.NetworkError, httpx2.RemoteProtocolError):
            # A kept connection that the server had closed meanwhile: nothing was received, and RFC 9112
            # (9.3.1) allows one more try.
            stale = connection.used_before and incoming.untouched
            if not stale or not isinstance(request.stream, httpx2.ByteStream):
                raise
        connection = await origin.acquire(clocks, fresh=True)
        return await _ask(request, head, connection, Incoming(connection, request.method, clocks.get("read")))

    def _origin(self, url: httpx2.URL) -> Origin:
        key = (url.scheme, url.raw_host, url.port)
        if key not in self._origins:
            if url.scheme not in PORTS:
                raise httpx2.UnsupportedProtocol(f"'{url.scheme}' is neither http nor https")
            tls = self._trust() if url.scheme == "https" else None
            port = url.port or PORTS[url.scheme]
            self._origins[key] = Origin(url.raw_host.decode(), port, tls, self._limit)
        return self._origins[key]

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


async def _ask(
    request: httpx2.Request, head: bytes, connection: Connection, incoming: Incoming
) -> httpx2.Response:
    """Send the request; the answer once its head is whole."""
    clocks: Clocks = request.extensions.get("timeout", {})
    connection.begin(incoming, clocks.get("write"))
    connection.write(head)
    if not isinstance(request.stream, httpx2.ByteStream):
        incoming.upload = tasks.start(_upload(request, connection, incoming), "upload")
    return await incoming.response()


def _first_bytes(request: httpx2.Request) -> bytes:
    """The head, and with it the body where that is known. Raises LocalProtocolError."""
    if isinstance(request.stream, httpx2.ByteStream):
        return whole_request(request, request.stream)
    return request_head(request)


async def _upload(request: httpx2.Request, connection: Connection, incoming: Incoming) -> None:
    """Send the request's body as it comes; what it raises is what the caller gets."""
    try:
        async with aclosing(request_body(request)) as pieces:
            async for piece in pieces:
                connection.write(piece)
                await connection.drained()
    except Exception as error:
        incoming.failed(error)
