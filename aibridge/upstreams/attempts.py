"""One request to one upstream, sent until it is answered or there is no hope: all retrying is here.

A request is sent again until the first byte of its answer: at once where another key of ours may do, after
a short wait where that is worth it (`retrying`) and the budget allows it. Each failure is told to whoever
asked. Which upstream is asked, and what becomes of a refusal, is left to the engine.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import TracebackType

import httpx2
import structlog

from aibridge.errors import BridgeError, Kind, UpstreamRefused
from aibridge.facts import AttemptHeard, Failure
from aibridge.upstreams.answer import Answer
from aibridge.upstreams.breaker import Breakers
from aibridge.upstreams.carrying import Body, Carrier, Clocks, Reply, Sent
from aibridge.upstreams.credentials import REFUSED, Key, Keys
from aibridge.upstreams.failures import CONNECTION, AttemptError, no_status, resting, unanswered
from aibridge.upstreams.headers import to_upstream
from aibridge.upstreams.hope import Hope
from aibridge.upstreams.retrying import LONGEST_WAIT, Budget, told_wait, wait_before, worth_retrying
from aibridge.upstreams.uploading import send_as_it_comes
from aibridge.upstreams.vitals import Vitals

log = structlog.get_logger(__name__)
Headers = Sequence[tuple[bytes, bytes]]
LENGTH = b"content-length"
HEADERS_REMEMBERED = 256
"""Of clients that came last: each sends the same ones again and again, but for the length. Headers of some
clients differ each time, and may be long: so not more."""
LONGEST_ERROR = 8 << 20
"""Bytes of an error body that are handed on."""


@dataclass(slots=True)
class Site:
    """What all requests to one upstream share."""

    name: str
    base: str
    host: bytes
    carrier: Carrier
    keys: Keys
    breakers: Breakers
    first_byte_timeout: float
    clocks: Clocks
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
        self._reply: Reply | None = None
        self._hope = Hope()
        self._began = 0.0

    async def __aenter__(self) -> Answer:
        self._admit()
        self._site.budget.earn()
        try:
            reply = await self._ask()
        except BaseException:
            await self._hope.drop()
            raise
        return Answer(self._site.name, reply, self._renewed, verbatim=self._outgoing.verbatim)

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._let_go()
        if self._hope.kept is not None:
            await self._hope.drop()

    async def _let_go(self) -> None:
        reply, self._reply = self._reply, None
        if reply is not None:
            await reply.stream.aclose()

    def _admit(self) -> None:
        """Raises AttemptError where the model has a pause."""
        model = self._outgoing.model
        breaker = self._site.breakers.of(model)
        if breaker is not None and (seconds := breaker.admit()):
            error = resting(self._site.name, model, breaker.reason, seconds)
            self._tell(error.code, error.message, None, key=None)
            raise error

    async def _ask(self) -> Reply:
        """The next answer that is worth handing on."""
        while True:
            self._began = time.perf_counter()
            key = self._site.keys.next(self._refused)
            try:
                reply = await self._send(key)
            except AttemptError as error:
                pause = self._failed(error, key)
                if pause is None:
                    raise
            else:
                self._reply = reply
                if reply.status < 300:
                    self._site.breakers.passed(self._outgoing.model)
                    self._site.vitals.answers()
                    return reply
                pause = self._answered(reply, key)
                if pause is None:
                    reply = self._reply = await self._hope.choose(reply)
                    return reply if self._outgoing.verbatim else await self._refusal(reply)
                await self._leave(reply, pause)
            await asyncio.sleep(pause)

    async def _send(self, key: Key) -> Reply:
        site, outgoing = self._site, self._outgoing
        client = tuple([pair for pair in outgoing.headers if pair[0] != LENGTH])
        headers = _headers(site.host, client, key.headers, outgoing.own_key, outgoing.verbatim)
        length = None if self._replayable else _length(outgoing.headers)
        url = site.base + outgoing.target
        request = Sent(outgoing.method, url, headers, outgoing.body, site.clocks, length)
        site.vitals.attempts += 1
        self._heard.attempt_begins()
        try:
            if self._replayable:
                async with asyncio.timeout(site.first_byte_timeout):
                    reply = await site.carrier.send(request)
            else:
                reply = await send_as_it_comes(site.carrier, request, site.first_byte_timeout)
        except (TimeoutError, httpx2.TransportError) as error:
            raise unanswered(site.name, error, proxied=site.proxied) from error
        except asyncio.CancelledError:
            site.breakers.undecided(outgoing.model)
            raise
        if not 200 <= reply.status < 600:  # servers have no line for such a one
            await reply.stream.aclose()
            raise no_status(site.name, reply.status)
        return reply

    def _failed(self, error: AttemptError, key: Key | None) -> float | None:
        """Note that no answer came; the seconds until the next try, None where there is none."""
        self._site.breakers.failed(self._outgoing.model, _bare(error.message))
        self._site.vitals.fails(error.message)
        pause = self._pause((), worth=error.code in CONNECTION)
        self._tell(error.code, error.message, pause, key)
        return pause

    def _answered(self, reply: Reply, key: Key) -> float | None:
        """Note a refusal; the seconds until the next try, None where there is none."""
        site, status, headers = self._site, reply.status, reply.headers
        told = f"answered {status}"
        if status >= 500:
            site.breakers.failed(self._outgoing.model, told)
            site.vitals.fails(f"upstream '{site.name}' {told}")
        else:
            site.breakers.passed(self._outgoing.model)
            site.vitals.answers()
        pause = self._other_key(key, status, headers)
        if pause is None:
            hope = self._hope.over(reply)
            worth = status >= 400 and worth_retrying(hope.status, hope.headers)
            pause = self._pause(hope.headers, worth=worth)
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

    async def _leave(self, reply: Reply, pause: float) -> None:
        """Go on from a refusal: to another key at once, or after a wait."""
        self._reply = None
        await self._hope.keep(reply)
        if pause:
            await self._hope.drop()

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

    async def _refusal(self, reply: Reply) -> Reply:
        """Raises what an answer that is none is for the engine."""
        name = self._site.name
        try:
            if reply.status < 400:
                reason = f"answered {reply.status}; check its base_url"
                raise BridgeError(Kind.UPSTREAM_INVALID, f"upstream '{name}' {reason}")
            answer = Answer(name, reply, None, verbatim=False)
            body = await answer.read_all(LONGEST_ERROR)
        finally:
            await self._let_go()
        raise UpstreamRefused(name, reply.status, answer.headers, body)

    async def _renewed(self, error: AttemptError) -> Reply | None:
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
        self._heard.attempt_fails(
            Failure(self._site.name, self._outgoing.model, code, error, took, again, shown)
        )


def _bare(sentence: str) -> str:
    """What a sentence says of its upstream, without its name and the remedy."""
    return sentence.partition("' ")[2].partition(";")[0]


@lru_cache(HEADERS_REMEMBERED)
def _headers(
    host: bytes,
    client: tuple[tuple[bytes, bytes], ...],
    added: tuple[tuple[bytes, bytes], ...],
    own_key: bool,
    verbatim: bool,
) -> tuple[tuple[bytes, bytes], ...]:
    """The headers of a request, worked out once for each client's own."""
    return (b"host", host), *to_upstream(client, added, own_key=own_key, verbatim=verbatim)


def _length(client: Headers) -> bytes | None:
    """How long a body is that comes in pieces, as its client says."""
    return next((value for name, value in client if name.lower() == LENGTH), None)
