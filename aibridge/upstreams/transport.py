"""The httpx2 transport that requests go through, on aiohttp's client.

httpx2's own transport costs several times as much on streams; its interface costs microseconds, so any
transport fits here: this one, httpx2's own, a mock. Raises httpx2's exceptions. Keeps no cookies, follows no
redirects, reads neither netrc nor proxies from the environment.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import aiohttp
import httpx2
from multidict import CIMultiDict
from yarl import URL

LONGEST_HEADER = 64 << 10
AFTER_END = 0.05
"""Seconds that the end of a body may lag behind its last event; a later one closes the connection."""


class AiohttpTransport(httpx2.AsyncBaseTransport):
    """Pooled keep-alive connections over HTTP/1.1."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    def _open(self) -> aiohttp.ClientSession:
        """The session, made within the running loop."""
        if self._session is None:
            trace = aiohttp.TraceConfig()
            trace.on_connection_reuseconn.append(_note_reuse)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ssl=self._tls or httpx2.create_ssl_context()),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                max_line_size=LONGEST_HEADER,
                max_field_size=LONGEST_HEADER,
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
                trace_configs=[trace],
            )
        return self._session

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send `request`; `extensions["timeout"]` gives `connect` and `read` (between pieces) in seconds."""
        timeout = request.extensions.get("timeout", {})
        answer = await self._send(request, timeout.get("connect"))
        stream = _Body(answer, timeout.get("read"))
        return httpx2.Response(answer.status, headers=list(answer.raw_headers), stream=stream)

    async def _send(self, request: httpx2.Request, connect: float | None) -> aiohttp.ClientResponse:
        reused = SimpleNamespace(connection=False)
        try:
            return await self._ask(request, connect, reused)
        except aiohttp.ClientConnectorError as error:
            raise _mapped(error) from error
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            # A kept connection that the server had closed meanwhile: nothing was received, and RFC 9112
            # (9.3.1) allows one more try.
            if not reused.connection or _answer_began(error):
                raise _mapped(error) from error
        except aiohttp.ClientError as error:
            raise _mapped(error) from error
        try:
            return await self._ask(request, connect, reused)
        except aiohttp.ClientError as error:
            raise _mapped(error) from error

    async def _ask(
        self, request: httpx2.Request, connect: float | None, reused: SimpleNamespace
    ) -> aiohttp.ClientResponse:
        pairs = ((_text(name), _text(value)) for name, value in request.headers.raw)
        return await self._open().request(
            request.method,
            URL(str(request.url), encoded=True),
            headers=CIMultiDict(pairs),
            data=await request.aread(),
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect),
            trace_request_ctx=reused,
        )

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()


class _Body(httpx2.AsyncByteStream):
    """A response's body as it arrives; one timer watches for silence."""

    def __init__(self, answer: aiohttp.ClientResponse, idle: float | None) -> None:
        self._answer, self._idle = answer, idle
        self._loop = asyncio.get_running_loop()
        self._heard = self._loop.time()
        self._silent = False
        self._timer = self._loop.call_later(idle, self._check) if idle else None

    def _check(self) -> None:
        """Nothing for `idle` seconds ends the body; a check that comes early waits on."""
        assert self._idle is not None
        rest = self._heard + self._idle - self._loop.time()
        if rest > 0:
            self._timer = self._loop.call_later(rest, self._check)
        else:
            self._silent = True
            self._answer.close()
            self._answer.content.set_exception(TimeoutError())

    async def __aiter__(self) -> AsyncIterator[bytes]:
        content = self._answer.content
        try:
            while piece := await content.readany():
                self._heard = self._loop.time()
                yield piece
        except (aiohttp.ClientError, OSError) as error:
            if self._silent:
                raise httpx2.ReadTimeout("nothing came") from error
            raise httpx2.ReadError(_say(error)) from error

    async def aclose(self) -> None:
        """Let go of the connection: back to the pool when the body was read to its end."""
        if self._timer:
            self._timer.cancel()
        content = self._answer.content
        if not content.at_eof() and content.exception() is None:
            try:
                async with asyncio.timeout(AFTER_END):
                    await content.readany()
            except (aiohttp.ClientError, OSError):  # TimeoutError is one
                pass
        self._answer.release()


def _text(field: bytes) -> str:
    """A header's bytes as the text that aiohttp will write as these bytes again: it writes UTF-8."""
    try:
        return field.decode()
    except UnicodeDecodeError:
        return field.decode("latin-1")


async def _note_reuse(_session: Any, context: Any, _params: Any) -> None:
    context.trace_request_ctx.connection = True


def _answer_began(error: Exception) -> bool:
    """True where the server had sent a part of its head: aiohttp puts that in place of a message."""
    return isinstance(error, aiohttp.ServerDisconnectedError) and not isinstance(error.message, str)


def _mapped(error: Exception) -> httpx2.TransportError:
    """aiohttp's failures as httpx2's."""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return httpx2.ConnectTimeout(_say(error))
    if isinstance(error, aiohttp.ClientConnectorError):
        return httpx2.ConnectError(_say(error))
    if isinstance(error, aiohttp.ClientOSError):
        return httpx2.ReadError(_say(error))
    return httpx2.RemoteProtocolError(_say(error))


def _say(error: Exception) -> str:
    return type(error).__name__
