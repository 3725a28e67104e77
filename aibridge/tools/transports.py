"""From a server's configuration to the pair of streams that mcp's Client speaks over.

stdio, streamable HTTP and legacy SSE; each tells `lost` when the connection has come to its end, which
the SDK by itself does not (a stdio server that dies is silent). Errors pass; `troubles.py` explains them.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache
from types import TracebackType
from typing import Self

import httpx2
from mcp.client._transport import ReadStream, TransportStreams
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.message import SessionMessage

from aibridge.config import McpServer
from aibridge.tools.http_errors import Lost, LostOnError, RequestErrors
from aibridge.tools.programs import program
from aibridge.tools.stderr import logged_stderr
from aibridge.tools.tokens import ClientCredentials

LARGEST_EVENT = 64 << 20
"""Bytes of one SSE event; the SDK's 1 MiB would fail larger tool results, which are cut later."""
TIMEOUT = httpx2.Timeout(10, read=None)
"""Seconds. Reading has no limit: a server may be silent until its tool is done, and calls have their own."""

Message = SessionMessage | Exception
Streams = AbstractAsyncContextManager[TransportStreams]


def opened(name: str, config: McpServer, mask: Callable[[str], str], lost: Lost) -> Streams:
    """The streams to the server that `config` describes."""
    if config.url is None:
        return _stdio(name, config, mask, lost)
    opener = _legacy_sse if config.type == "sse" else _streamable_http
    headers = {key: value.get_secret_value() for key, value in config.headers.items()}
    auth = None if config.oauth is None else ClientCredentials(name, config.url, config.oauth)
    return opener(config.url, headers, auth, lost)


@asynccontextmanager
async def _stdio(
    name: str, config: McpServer, mask: Callable[[str], str], lost: Lost
) -> AsyncIterator[TransportStreams]:
    started = program(config)
    async with logged_stderr(name, mask) as stderr, stdio_client(started, stderr) as (reading, writing):
        stderr.close()
        yield _Watched(reading, lost), writing


@asynccontextmanager
async def _streamable_http(
    url: str, headers: dict[str, str], auth: httpx2.Auth | None, lost: Lost
) -> AsyncIterator[TransportStreams]:
    transport = RequestErrors(await _transport(), lost)
    async with (
        _client(transport, headers, auth) as client,
        streamable_http_client(url, http_client=client, max_sse_event_size=LARGEST_EVENT) as (
            reading,
            writing,
        ),
    ):
        yield _Watched(reading, lost), writing


@asynccontextmanager
async def _legacy_sse(
    url: str, headers: dict[str, str], auth: httpx2.Auth | None, lost: Lost
) -> AsyncIterator[TransportStreams]:
    transport = LostOnError(await _transport(), lost)

    def client(
        headers: dict[str, str] | None = None,
        timeout: httpx2.Timeout | None = None,
        auth: httpx2.Auth | None = None,
    ) -> httpx2.AsyncClient:
        return _client(transport, headers or {}, auth)

    async with sse_client(url, headers, auth=auth, httpx_client_factory=client) as (reading, writing):
        yield _Watched(reading, lost), writing


@cache
def _trust() -> ssl.SSLContext:
    """The system's certificates, read once, with the first server: that takes tens of milliseconds."""
    return httpx2.create_ssl_context()


async def _transport() -> httpx2.AsyncHTTPTransport:
    """A pool of its own for each session."""
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=20)
    trust = await asyncio.to_thread(_trust)
    return httpx2.AsyncHTTPTransport(verify=trust, limits=limits, trust_env=False)


def _client(
    transport: httpx2.AsyncBaseTransport, headers: dict[str, str], auth: httpx2.Auth | None
) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        transport=transport, headers=headers, auth=auth, timeout=TIMEOUT, trust_env=False
    )


class _Watched:
    """A read stream that tells when it has come to its end."""

    def __init__(self, inner: ReadStream[Message], lost: Lost) -> None:
        self._inner, self._lost = inner, lost

    async def receive(self) -> Message:
        return await self._inner.receive()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        try:
            return await self._inner.__anext__()
        except StopAsyncIteration:
            self._lost("Its connection ended.")
            raise

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._inner.__aexit__(kind, error, trace)

    @property
    def last_context(self) -> object:
        """The sender's context variables, by which the SDK nests its spans."""
        return getattr(self._inner, "last_context", None)
