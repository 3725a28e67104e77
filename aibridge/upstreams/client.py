"""One upstream: send a request, know the first status, read the answer; failures mapped once."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from fnmatch import fnmatchcase
from functools import lru_cache
from urllib.parse import urlsplit

import httpx2

from aibridge import config
from aibridge.errors import BridgeError, Kind, UpstreamRefused
from aibridge.nouns import SendBack
from aibridge.upstreams.headers import Pairs, to_upstream

Headers = Sequence[tuple[bytes, bytes]]
Body = bytes | AsyncIterator[bytes]
LONGEST_ERROR = 8 << 20
"""Bytes of an error body that are handed on."""


class Answer:
    """An upstream's answer whose first status is known."""

    def __init__(self, upstream: str, response: httpx2.Response, *, decoded: bool = True) -> None:
        self.status = response.status_code
        self.headers: Sequence[tuple[bytes, bytes]] = response.headers.raw
        self._upstream = upstream
        # Asked for identity; an upstream that encodes all the same is decoded by httpx2.
        encoded = decoded and response.headers.get("content-encoding", "identity") != "identity"
        self.media_type: str = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        self._pieces = response.aiter_bytes() if encoded else aiter(response.stream)

    async def read(self) -> bytes:
        """The next piece of the body as it arrives; empty at the end. Raises BridgeError when it breaks."""
        try:
            return await anext(self._pieces, b"")
        except httpx2.TimeoutException:
            raise _timeout(self._upstream, "sent nothing more for its idle_timeout") from None
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            kind = Kind.UPSTREAM_INVALID
            raise BridgeError(
                kind, f"upstream '{self._upstream}' broke the connection in its answer"
            ) from error

    async def read_all(self, limit: int) -> bytes:
        """The body, cut at `limit` bytes."""
        body = b""
        while len(body) < limit and (piece := await self.read()):
            body += piece
        return body[:limit]


class _Upload(httpx2.AsyncByteStream):
    """A request's body that is sent on as it comes."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces


class Upstream:
    """A model server with its own address, credential, patterns and clocks."""

    def __init__(self, name: str, settings: config.Upstream, transport: httpx2.AsyncBaseTransport) -> None:
        self.name, self.models = name, tuple(settings.models)
        self.aliases, self.apis = settings.aliases, frozenset[str](settings.apis)
        wanted = settings.send_back
        self.send_back: SendBack = wanted if isinstance(wanted, str) else tuple(wanted)
        self._settings, self._transport = settings, transport
        self._base = settings.base_url
        self._host = urlsplit(settings.base_url).netloc.rpartition("@")[2].encode()
        self._added = _own_headers(settings)
        self._extensions = {"timeout": _timeouts(settings)}
        self._answered = False
        self._error: str | None = None

    def serves(self, model: str) -> bool:
        """True where one of its aliases is `model`, or one of its patterns matches."""
        return model in self.aliases or any(fnmatchcase(model, pattern) for pattern in self.models)

    def resolve(self, model: str) -> str:
        """Its own name for `model`, where that is an alias."""
        return self.aliases.get(model, model)

    @property
    def has_key(self) -> bool:
        """True where a key of our own is sent, and not the caller's."""
        return self._settings.api_key is not None

    def health(self) -> dict[str, str | None]:
        """How its last request went, for `/readyz`."""
        if self._error is not None:
            return {"state": "failing", "error": self._error}
        return {"state": "ok" if self._answered else "unknown", "error": None}

    @asynccontextmanager
    async def ask(self, target: str, headers: Headers, body: bytes) -> AsyncIterator[Answer]:
        """POST `body` to `target` below `base_url`; leaving the context lets go of the connection.

        Raises UpstreamRefused on a status of 400 and above, BridgeError when there is no answer.
        """
        async with self._opened("POST", target, headers, body, verbatim=False) as answer:
            if answer.status >= 400:
                refused = await answer.read_all(LONGEST_ERROR)
                raise UpstreamRefused(self.name, answer.status, answer.headers, refused)
            if answer.status >= 300:
                reason = f"answered {answer.status}; check its base_url"
                raise BridgeError(Kind.UPSTREAM_INVALID, f"upstream '{self.name}' {reason}")
            yield answer

    def open(
        self, method: str, target: str, headers: Headers, body: Body
    ) -> AbstractAsyncContextManager[Answer]:
        """Send a request whose answer has any status; both bodies travel as they are.

        Raises BridgeError when there is no answer.
        """
        return self._opened(method, target, headers, body, verbatim=True)

    async def list_models(self, headers: Headers) -> tuple[int, bytes]:
        """Status and body of `GET /models`, asked with our key or that in `headers`. Raises BridgeError."""
        async with self._opened("GET", "/models", headers, b"", verbatim=False) as answer:
            return answer.status, await answer.read_all(LONGEST_ERROR)

    async def probe(self) -> tuple[bool, str]:
        """Whether the upstream answers and takes our key, and that in a few words; asks `GET /models`."""
        try:
            status, _ = await self.list_models([])
        except BridgeError as error:
            return False, error.message
        if status in (401, 403) and self._settings.api_key is not None:
            return False, f"upstream '{self.name}' answered {status}: it refuses our api_key"
        if status >= 500:
            return False, f"upstream '{self.name}' answered {status}"
        return True, f"answers ({status} on /models)"

    @asynccontextmanager
    async def _opened(
        self,
        method: str,
        target: str,
        headers: Headers,
        body: bytes | AsyncIterator[bytes],
        *,
        verbatim: bool,
    ) -> AsyncIterator[Answer]:
        request = httpx2.Request(
            method,
            _url(self._base + target),
            headers=[(b"host", self._host), *_framing(method, headers, body), *self._own(headers, verbatim)],
            stream=httpx2.ByteStream(body) if isinstance(body, bytes) else _Upload(body),
            extensions=self._extensions,
        )
        try:
            response = await self._send(request)
        except BridgeError as error:
            self._error = error.message
            raise
        self._answered, self._error = True, None
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        async with aclosing(response.stream):
            yield Answer(self.name, response, decoded=not verbatim)

    def _own(self, client: Headers, verbatim: bool) -> Pairs:
        return to_upstream(client, self._added, own_key=self.has_key, verbatim=verbatim)

    async def _send(self, request: httpx2.Request) -> httpx2.Response:
        try:
            async with asyncio.timeout(self._settings.first_byte_timeout):
                return await self._transport.handle_async_request(request)
        except httpx2.ConnectTimeout:
            raise _timeout(self.name, "took no connection within its connect_timeout") from None
        except (TimeoutError, httpx2.TimeoutException):
            raise _timeout(self.name, "gave no answer within its first_byte_timeout") from None
        except httpx2.TransportError as error:
            what = "cannot be reached" if isinstance(error, httpx2.ConnectError) else "closed the connection"
            where = f"check upstreams.{self.name}.base_url and that the server runs"
            raise BridgeError(Kind.UPSTREAM_UNREACHABLE, f"upstream '{self.name}' {what}; {where}") from error


@lru_cache(maxsize=256)
def _url(url: str) -> httpx2.URL:
    """Parsed once: it costs as much as all the rest of a request's way through the transport."""
    return httpx2.URL(url)


def _framing(method: str, client: Headers, body: Body) -> Pairs:
    """The header that says how long the body is."""
    if isinstance(body, bytes):
        needed = body or method in ("POST", "PUT", "PATCH")
        return [(b"content-length", str(len(body)).encode())] if needed else []
    told = [(name, value) for name, value in client if name.lower() == b"content-length"]
    return told or [(b"transfer-encoding", b"chunked")]


def _timeouts(settings: config.Upstream) -> Mapping[str, float]:
    """httpx2's clocks in seconds; `read` is the time between two pieces of a body."""
    return {
        "connect": settings.connect_timeout,
        "read": settings.idle_timeout,
        "write": settings.idle_timeout,
        "pool": settings.connect_timeout,
    }


def _own_headers(settings: config.Upstream) -> Pairs:
    """What every request to this upstream carries."""
    own = {name.lower(): value.get_secret_value() for name, value in settings.headers.items()}
    if settings.api_key is not None:
        own["authorization"] = f"Bearer {settings.api_key.get_secret_value()}"
    return [(name.encode(), value.encode()) for name, value in own.items()]


def _timeout(upstream: str, what: str) -> BridgeError:
    return BridgeError(Kind.UPSTREAM_TIMEOUT, f"upstream '{upstream}' {what}")
