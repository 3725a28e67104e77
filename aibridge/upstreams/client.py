"""One upstream: its settings, what it serves, and how requests reach it; how often is left to `attempts`."""

import asyncio
import time
from collections.abc import Callable, Mapping
from copy import copy
from fnmatch import fnmatchcase
from typing import Any, Self
from urllib.parse import urlsplit

import httpx2
import structlog

from aibridge import config
from aibridge.errors import BridgeError, Kind, UpstreamRefused
from aibridge.facts import AttemptHeard, Failure
from aibridge.nouns import NO_QUIRKS, Quirks, SendBack
from aibridge.upstreams.attempts import LONGEST_ERROR, Attempts, Headers, Outgoing, Site
from aibridge.upstreams.breaker import Breakers
from aibridge.upstreams.carriers import carrier_of
from aibridge.upstreams.carrying import Body
from aibridge.upstreams.credentials import REFUSED, Keys
from aibridge.upstreams.headers import CREDENTIALS

log = structlog.get_logger(__name__)
LISTING = 5.0
"""Seconds that an upstream has for the list of its models: a server that lives has it at hand, while
`first_byte_timeout` is for models that think for minutes."""


class _Unheard:
    """Nobody wants to hear of attempts."""

    def attempt_begins(self) -> None:
        """See `AttemptHeard`."""

    def attempt_fails(self, failure: Failure) -> None:
        """The same."""


UNHEARD = _Unheard()


class _Learned:
    """What the upstream refuses, shared by all that ask it."""

    quirks = NO_QUIRKS


class Upstream:
    """A model server with its own address, credentials, patterns and clocks."""

    def __init__(
        self,
        name: str,
        settings: config.Upstream,
        transport: httpx2.AsyncBaseTransport,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings, self._transport = settings, transport
        self.name, self.models = name, tuple(settings.models)
        self.aliases, self.apis = settings.aliases, frozenset[str](settings.apis)
        self.fallback = tuple(settings.fallback)
        wanted = settings.send_back
        self.send_back: SendBack = wanted if isinstance(wanted, str) else tuple(wanted)
        self._retries = settings.retries
        own = {each.lower(): value.get_secret_value() for each, value in settings.headers.items()}
        secrets = settings.api_keys()
        self.has_key = bool(secrets) or any(each.encode() in CREDENTIALS for each in own)
        """True where a key of our own is sent, and not the caller's."""
        self._own_key = self.has_key
        self._learned = _Learned()
        self._site = Site(
            name=name,
            base=settings.base_url,
            host=urlsplit(settings.base_url).netloc.rpartition("@")[2].encode(),
            carrier=carrier_of(transport),
            keys=Keys(name, secrets, own, clock),
            breakers=Breakers(name, settings.breaker if settings.breaker != "off" else None, clock),
            first_byte_timeout=settings.first_byte_timeout,
            clocks=_clocks(settings),
            proxied=settings.proxy is not None,
        )

    @property
    def transport(self) -> httpx2.AsyncBaseTransport:
        """What carries its requests."""
        return self._transport

    def serves(self, model: str) -> bool:
        """True where one of its aliases is `model`, or one of its patterns matches."""
        if "*" in self.models or model in self.aliases:
            return True
        return any(fnmatchcase(model, pattern) for pattern in self.models)

    def resolve(self, model: str) -> str:
        """Its own name for `model`, where that is an alias."""
        return self.aliases.get(model, model)

    def without_callers_credential(self) -> Self:
        """The same upstream, which never gets a credential of the caller's."""
        if self._own_key:
            return self
        other = copy(self)
        other._own_key = True
        return other

    @property
    def quirks(self) -> Quirks:
        """What it refused so far of what aibridge adds."""
        return self._learned.quirks

    def learn(self, quirks: Quirks) -> None:
        """Leave `quirks` out from now on, until the process ends."""
        self._learned.quirks |= quirks
        log.warning("an upstream refuses what aibridge adds", upstream=self.name, left_out=quirks.words())

    async def keep(self, _shown: object) -> None:
        """Its answers are its own to keep."""

    def health(self) -> dict[str, Any]:
        """How it does, for `/readyz` and metrics."""
        return {
            **self._site.vitals.told(),
            "resting_keys": self._site.keys.resting(),
            "breakers": self._site.breakers.told(),
            "quirks": self.quirks.words(),
        }

    def ask(
        self, target: str, headers: Headers, body: bytes, model: str = "", heard: AttemptHeard = UNHEARD
    ) -> Attempts:
        """POST `body` to `target` below `base_url`; leaving the context lets go of the connection.

        `model`: the one that is asked, for the breaker; `heard` is told of each attempt. Raises
        UpstreamRefused on a status of 400 and above, BridgeError when there is no answer.
        """
        outgoing = Outgoing(
            "POST", target, headers, body, model, self._retries, self._own_key, verbatim=False
        )
        return Attempts(self._site, outgoing, heard)

    def open(
        self,
        method: str,
        target: str,
        headers: Headers,
        body: Body,
        model: str = "",
        heard: AttemptHeard = UNHEARD,
    ) -> Attempts:
        """Send a request whose answer has any status; both bodies travel as they are.

        Without a `model` the breaker is that of the route. Raises BridgeError when there is no answer.
        """
        route = model or "/" + target[1:].partition("?")[0].partition("/")[0]
        outgoing = Outgoing(method, target, headers, body, route, self._retries, self._own_key, verbatim=True)
        return Attempts(self._site, outgoing, heard)

    async def list_models(self, headers: Headers) -> tuple[int, bytes]:
        """Status and body of `GET /models`, asked once with our key or that in `headers`.

        Raises BridgeError, also when it takes longer than LISTING.
        """
        outgoing = Outgoing("GET", "/models", headers, b"", "/models", 0, self._own_key, verbatim=False)
        try:
            async with asyncio.timeout(LISTING), Attempts(self._site, outgoing, UNHEARD) as answer:
                return answer.status, await answer.read_all(LONGEST_ERROR)
        except TimeoutError as error:
            sentence = f"upstream '{self.name}' gave no list of models within {LISTING:g} s"
            raise BridgeError(Kind.UPSTREAM_TIMEOUT, sentence) from error
        except UpstreamRefused as refused:
            return refused.status, refused.body

    async def probe(self) -> tuple[bool, str]:
        """Whether the upstream answers and takes our keys, and that in a few words; asks `GET /models`."""
        try:
            status, _ = await self.list_models([])
        except BridgeError as error:
            return False, error.message
        if status in REFUSED and self.has_key:
            return False, f"upstream '{self.name}' answered {status}: it refuses our api_key"
        if refused := [each["key"] for each in self._site.keys.resting()]:
            return False, f"upstream '{self.name}' refuses {', '.join(refused)} of its api_key"
        if status >= 500:
            return False, f"upstream '{self.name}' answered {status}"
        return True, f"answers ({status} on /models)"


def _clocks(settings: config.Upstream) -> Mapping[str, float]:
    """httpx2's clocks in seconds; `read` is the time between two pieces of a body."""
    return {
        "connect": settings.connect_timeout,
        "read": settings.idle_timeout,
        "write": settings.idle_timeout,
        "pool": settings.connect_timeout,
    }
