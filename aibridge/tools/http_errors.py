"""httpx2 transports that keep an HTTP failure to the one request that met it.

In mcp 2.3 a POST that raises (refused, reset) escapes into the session's task group, ends the session and
cancels the task that owns it (python-sdk #3560, #3522). Here it is answered with a JSON-RPC error instead,
whose `data` says what happened; `troubles.py` reads that. Nothing is retried here.
"""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import httpx2
from mcp.types import CONNECTION_CLOSED, INTERNAL_ERROR, METHOD_NOT_FOUND

TROUBLE = "aibridge_trouble"
"""Key in an error's `data`: `unreachable`, `session_lost`, `no_token` (never ran), `cut`, `refused`."""
ASIDE = "aibridge_aside"
"""In a request's extensions: it goes to an authorization server, and its failure is no one else's."""
NO_TOKEN = "aibridge_no_token"  # noqa: S105 - a key, no secret
"""In a request's extensions: there is no token for it, so that it need not be sent."""
SESSION_HEADER = "mcp-session-id"
CHALLENGE = "www-authenticate"
FAREWELL = 2.0
"""Seconds for the DELETE that ends a session: a server that hangs must not hold up the stop."""
ERROR_BODY = 1 << 16
"""Bytes of an error's body that are looked at."""
NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)

Lost = Callable[[str], None]
"""Hears, in one sentence, that the connection cannot be used any more."""


class RequestErrors(httpx2.AsyncBaseTransport):
    """For streamable HTTP: each failing request gets an error answer of its own."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, lost: Lost) -> None:
        self._inner, self._lost = inner, lost

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send `request`; never raises httpx2.TransportError."""
        if ASIDE in request.extensions:
            return await self._aside(request)
        if NO_TOKEN in request.extensions:
            return _error(request, 401, "no_token")
        if request.method == "DELETE":
            request.extensions = {**request.extensions, "timeout": httpx2.Timeout(FAREWELL).as_dict()}
        try:
            response = await self._inner.handle_async_request(request)
        except NOT_SENT:
            self._lost("It cannot be reached.")
            return _error(request, 503, "unreachable")
        except httpx2.TransportError:
            return _error(request, 503, "cut")
        response.stream = _QuietStream(response.stream)
        if response.status_code < 400 or request.method == "DELETE":
            return response
        return await self._refusal(request, response)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._inner.aclose()

    async def _aside(self, request: httpx2.Request) -> httpx2.Response:
        """What an authorization server says; one that cannot be reached says 503."""
        try:
            return await self._inner.handle_async_request(request)
        except httpx2.TransportError:
            return httpx2.Response(503, request=request)

    async def _refusal(self, request: httpx2.Request, response: httpx2.Response) -> httpx2.Response:
        """The answer of status 400 and above as a JSON-RPC error that says why."""
        status, body = response.status_code, await _beginning(response)
        if SESSION_HEADER in request.headers and _names_lost_session(status, body):
            self._lost("Its session had ended.")
            return _error(request, 404, "session_lost")
        if _is_rpc_error(body):
            headers = {"content-type": "application/json", **_challenge(response)}
            return httpx2.Response(status, headers=headers, content=body, request=request)
        error = _error(request, status, "refused")
        error.headers.update(_challenge(response))
        return error


class LostOnError(httpx2.AsyncBaseTransport):
    """For legacy SSE: answers come on the stream that the first GET opened, and a POST that fails ends the
    SDK's writer for good, so it ends the whole connection.
    """

    def __init__(self, inner: httpx2.AsyncBaseTransport, lost: Lost) -> None:
        self._inner, self._lost = inner, lost

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send `request`; raises httpx2.TransportError for the GET only."""
        if request.method == "GET":
            response = await self._inner.handle_async_request(request)
            response.stream = _QuietStream(response.stream)
            return response
        try:
            response = await self._inner.handle_async_request(request)
        except httpx2.TransportError:
            if ASIDE in request.extensions:
                return httpx2.Response(503, request=request)
            self._lost("It cannot be reached.")
            return httpx2.Response(202, request=request)
        if response.status_code < 400 or ASIDE in request.extensions:
            return response
        await response.aclose()
        self._lost(f"It answered HTTP {response.status_code}.")
        return httpx2.Response(202, request=request)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._inner.aclose()


class _QuietStream(httpx2.AsyncByteStream):
    """A body that ends where it is cut; the SDK makes an error of that one request of it."""

    def __init__(self, inner: httpx2.SyncByteStream | httpx2.AsyncByteStream) -> None:
        assert isinstance(inner, httpx2.AsyncByteStream)
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._inner:
                yield chunk
        except httpx2.TransportError:
            return

    async def aclose(self) -> None:
        await self._inner.aclose()


def _error(request: httpx2.Request, status: int, trouble: str) -> httpx2.Response:
    code = INTERNAL_ERROR if trouble == "refused" else CONNECTION_CLOSED
    if trouble == "refused" and status == 404:
        code = METHOD_NOT_FOUND  # how servers say that they do not have a method, or an era
    error = {"code": code, "message": trouble, "data": {TROUBLE: trouble, "status": status}}
    return httpx2.Response(status, request=request, json={"jsonrpc": "2.0", "id": None, "error": error})


def _challenge(response: httpx2.Response) -> dict[str, str]:
    """Where a token is to be had."""
    value = response.headers.get(CHALLENGE)
    return {} if value is None else {CHALLENGE: value}


async def _beginning(response: httpx2.Response) -> bytes:
    body = b""
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > ERROR_BODY:
            break
    await response.aclose()
    return body[:ERROR_BODY]


def _names_lost_session(status: int, body: bytes) -> bool:
    """404 by the specification; servers after the TypeScript example say 400 and "No valid session ID"."""
    return status == 404 or (status == 400 and b"session" in body.lower())


def _is_rpc_error(body: bytes) -> bool:
    try:
        value: Any = json.loads(body)
    except ValueError:
        return False
    return isinstance(value, Mapping) and isinstance(value.get("error"), Mapping) and "jsonrpc" in value
