"""One request to one upstream, sent until it is answered or there is no hope: all retrying is here.

A request is sent again until the first byte of its answer: at once where another key of ours may do, after
a short wait where that is worth it (`retrying`) and the budget allows it. Each failure is told to whoever
asked. Which upstream is asked, and what becomes of a refusal, is left to the engine.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import TracebackType
from typing import Any

import httpx2
import structlog

from aibridge.errors import BridgeError, Kind, UpstreamRefused
from aibridge.facts import AttemptHeard, Failure
from aibridge.upstreams.answer import Answer
from aibridge.upstreams.breaker import Breakers
from aibridge.upstreams.credentials import REFUSED, Key, Keys
from aibridge.upstreams.failures import CONNECTION, AttemptError, resting, unanswered
from aibridge.upstreams.headers import Pairs, to_upstream
from aibridge.upstreams.retrying import LONGEST_WAIT, Budget, told_wait, wait_before, worth_retrying
from aibridge.upstreams.vitals import Vitals

log = structlog.get_logger(__name__)
Headers = Sequence[tuple[bytes, bytes]]
Body = bytes | AsyncIterator[bytes]
LONGEST_ERROR = 8 << 20
"""Bytes of an error body that are handed on."""


@dataclass(slots=True)
class Site:
    """What all requests to one upstream share."""

    name: str
    base: str
    host: bytes
    transport: httpx2.AsyncBaseTransport
    keys: Keys
    breakers: Breakers
    first_byte_timeout: float
    extensions: dict[str, Any]
    """httpx2's extensions of a request: its clocks."""
    proxied: bool = False
    budget: Budget = field(default_factory=Budget)
    vitals: Vitals = field(default_factory=Vitals)


@dataclass(slots=True)
class Outgoing:
    """One request; `model`: under which name its failures count."""

    method: str
    target: str
    headers: Headers
    body: Body
    model: str
    retries: int
    own_key: bool
    """No credential of the caller's goes on."""
    verbatim: bool
    """Both bodies travel as they are, and the answer may have any status."""


class Attempts:
    """An async context manager that gives the answer; leaving it lets go of the connection.

    Raises BridgeError when there is none, and unless it is `verbatim` UpstreamRefused on a status of 400
    and above.
    """

    def __init__(self, site: Site, outgoing: Outgoing, heard: AttemptHeard) -> None:
        self._site, self._outgoing, self._heard = site, outgoing, heard
        self._replayable = isinstance(outgoing.body, bytes)
        self._retry = 0
        self._refused: list[Key] = []
        self._response: httpx2.Response | None = None
        self._began = 0.0

    async def __aenter__(self) -> Answer:
        self._admit()
        self._site.budget.earn()
        response = await self._ask()
        return Answer(self._site.name, response, self._renewed, verbatim=self._outgoing.verbatim)

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._let_go()

    async def _let_go(self) -> None:
        response, self._response = self._response, None
        if response is not None:
            assert isinstance(response.stream, httpx2.AsyncByteStream)
            await response.stream.aclose()

    def _admit(self) -> None:
        """Raises AttemptError where the model has a pause."""
        model = self._outgoing.model
        breaker = self._site.breakers.of(model)
        if breaker is not None and (seconds := breaker.admit()):
            error = resting(self._site.name, model, breaker.reason, seconds)
            self._tell(error.code, error.message, None, key=None)
            raise error

    async def _ask(self) -> httpx2.Response:
        """The next answer that is worth handing on."""
        while True:
            self._began = time.perf_counter()
            key = self._site.keys.next(self._refused)
            try:
                response = await self._send(key)
            except AttemptError as error:
                pause = self._failed(error, key)
                if pause is None:
                    raise
            else:
                self._response = response
                if response.status_code < 300:
                    self._site.breakers.passed(self._outgoing.model)
                    self._site.vitals.answers()
                    return response
                pause = self._answered(response, key)
                if pause is None:
                    return response if self._outgoing.verbatim else await self._refusal(response)
                await self._let_go()
            await asyncio.sleep(pause)

    async def _send(self, key: Key) -> httpx2.Response:
        site, outgoing = self._site, self._outgoing
        client = to_upstream(
            outgoing.headers, key.headers, own_key=outgoing.own_key, verbatim=outgoing.verbatim
        )
        body = outgoing.body
        request = httpx2.Request(
            outgoing.method,
            _url(site.base + outgoing.target),
            headers=[(b"host", site.host), *_framing(outgoing.method, outgoing.headers, body), *client],
            stream=httpx2.ByteStream(body) if isinstance(body, bytes) else _Upload(body),
            extensions=site.extensions,
        )
        site.vitals.attempts += 1
        try:
            async with asyncio.timeout(site.first_byte_timeout):
                response = await site.transport.handle_async_request(request)
        except (TimeoutError, httpx2.TransportError) as error:
            raise unanswered(site.name, error, proxied=site.proxied) from error
        except asyncio.CancelledError:
            site.breakers.undecided(outgoing.model)
            raise
        return response

    def _failed(self, error: AttemptError, key: Key | None) -> float | None:
        """Note that no answer came; the seconds until the next try, None where there is none."""
        self._site.breakers.failed(self._outgoing.model, _bare(error.message))
        self._site.vitals.fails(error.message)
        pause = self._pause((), worth=error.code in CONNECTION)
        self._tell(error.code, error.message, pause, key)
        return pause

    def _answered(self, response: httpx2.Response, key: Key) -> float | None:
        """Note a refusal; the seconds until the next try, None where there is none."""
        site, status, headers = self._site, response.status_code, response.headers.raw
        told = f"answered {status}"
        if status >= 500:
            site.breakers.failed(self._outgoing.model, told)
            site.vitals.fails(f"upstream '{site.name}' {told}")
        else:
            site.breakers.passed(self._outgoing.model)
            site.vitals.answers()
        pause = self._other_key(key, status, headers)
        if pause is None:
            pause = self._pause(headers, worth=status >= 400 and worth_retrying(status, headers))
        if status >= 400:
            self._tell(str(status), f"upstream '{site.name}' {told}", pause, key)
        return pause

    def _other_key(self, key: Key, status: int, headers: Headers) -> float | None:
        """Zero where a key was refused and another may do."""
        if status not in REFUSED and status != 429:
            return None
        self._site.keys.refused(key, status, told_wait(headers))
        self._refused.append(key)
        return 0.0 if self._replayable and self._site.keys.another(self._refused) else None

    def _pause(self, headers: Headers, *, worth: bool) -> float | None:
        """Seconds before the same request is sent again; None where it is not."""
        outgoing, breaker = self._outgoing, self._site.breakers.of(self._outgoing.model)
        if not worth or not self._replayable or self._retry >= outgoing.retries:
            return None
        wait = wait_before(self._retry + 1, headers)
        if wait > LONGEST_WAIT or (breaker is not None and breaker.state != "closed"):
            return None
        if not self._site.budget.spend():
            return None
        self._retry += 1
        self._site.vitals.retries += 1
        return wait

    async def _refusal(self, response: httpx2.Response) -> httpx2.Response:
        """Raises what an answer that is none is for the engine."""
        name = self._site.name
        try:
            if response.status_code < 400:
                reason = f"answered {response.status_code}; check its base_url"
                raise BridgeError(Kind.UPSTREAM_INVALID, f"upstream '{name}' {reason}")
            answer = Answer(name, response, None, verbatim=False)
            body = await answer.read_all(LONGEST_ERROR)
        finally:
            await self._let_go()
        raise UpstreamRefused(name, response.status_code, answer.headers, body)

    async def _renewed(self, error: AttemptError) -> httpx2.Response | None:
        """Another answer for one that ended before its first byte; None where there is none."""
        pause = self._failed(error, None)
        if pause is None:
            return None
        await self._let_go()
        await asyncio.sleep(pause)
        return await self._ask()

    def _tell(self, code: str, error: str, pause: float | None, key: Key | None) -> None:
        self._site.vitals.failures[code] += 1
        took = round((time.perf_counter() - self._began) * 1000) if self._began else 0
        again = None if pause is None else round(pause * 1000)
        shown = None if key is None else key.name
        if again is not None:
            log.info("an upstream is asked again", upstream=self._site.name, code=code, after_ms=again)
        self._heard(Failure(self._site.name, self._outgoing.model, code, error, took, again, shown))


class _Upload(httpx2.AsyncByteStream):
    """A request's body that is sent on as it comes."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces


def _bare(sentence: str) -> str:
    """What a sentence says of its upstream, without its name and the remedy."""
    return sentence.partition("' ")[2].partition(";")[0]


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
