"""Rates and concurrency of keys, counted in Redis for several machines: one script, one round trip a request.

A request waits for Redis a quarter of a second at most. When Redis fails, requests of the next second do
not ask it at all; then one tries again. A lease ends by itself when its process does not renew it.
"""

import asyncio
import time
from importlib.resources import files
from typing import Any, Literal

import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from aibridge import tasks
from aibridge.access.buckets import Limits, Verdict
from aibridge.access.limiter import LocalLimiter
from aibridge.errors import BridgeError, Kind

PATIENCE = 0.25
"""Seconds."""
REST = 1.0
"""Seconds without a question after one that failed."""
LEASE = 60.0
"""Seconds that a lease lives without being renewed; it is renewed three times as often."""
GIVING_BACK = 0.05
"""Seconds after which a full key is asked about again: another process may just be giving a slot back."""
FAILURES = (RedisError, OSError, TimeoutError)

Arguments = list[bytes | bytearray | memoryview | str | int | float]

log = structlog.get_logger(__name__)


class RedisLimiter:
    """Counts in the Redis at `url`."""

    def __init__(self, url: str, when_down: Literal["allow", "deny"], lease: float = LEASE) -> None:
        """`lease`: seconds that a lease lives without being renewed."""
        self._redis = Redis.from_url(
            url,
            socket_timeout=PATIENCE,
            socket_connect_timeout=PATIENCE,
            retry=Retry(NoBackoff(), 1),  # a connection that rested may be closed by now
        )
        self._script = self._redis.register_script(
            files("aibridge.access").joinpath("limits.lua").read_text()
        )
        self._when_down, self._lease = when_down, lease
        self._meanwhile = LocalLimiter()
        self._leases: dict[str, str] = {}
        """Those of this process, and whose they are."""
        self._settling: dict[str, set[asyncio.Task[None]]] = {}
        self._renewing: asyncio.Task[None] | None = None
        self._rests_until = 0.0
        self._error: str | None = None

    async def admit(self, key_id: str, limits: Limits, tokens: float, lease: str) -> Verdict:
        """See Limiter. While Redis is away this process counts by itself, or refuses all (503)."""
        if settling := self._settling.get(key_id):  # what ended here ended before this began
            await asyncio.wait(tuple(settling))
        answer = await self._ask("admit", key_id, limits, tokens, lease)
        if answer is not None and answer[0] == b"concurrency":
            await asyncio.sleep(GIVING_BACK)
            answer = await self._ask("admit", key_id, limits, tokens, lease)
        if answer is None:
            if self._when_down == "deny":
                sentence = "the limits of this key cannot be checked: the limiter does not answer"
                raise BridgeError(Kind.LIMITER_UNAVAILABLE, sentence, retry_after=1)
            return await self._meanwhile.admit(key_id, limits, tokens, lease)
        what, millis, requests_left, tokens_left = answer
        verdict = Verdict(what.decode() or None, millis / 1000, float(requests_left), float(tokens_left))
        if verdict.refused is None and limits.concurrency is not None:
            self._leases[lease] = key_id
            self._renew()
        return verdict

    def settle(self, key_id: str, limits: Limits, more: float, lease: str) -> None:
        """See Limiter; Redis hears of it beside the requests."""
        self._leases.pop(lease, None)
        self._meanwhile.settle(key_id, limits, more, lease)
        if limits.concurrency is None and (limits.tpm is None or not more):
            return
        task = tasks.start(self._settle(key_id, limits, more, lease), "limits:settle")
        self._settling.setdefault(key_id, set()).add(task)
        task.add_done_callback(lambda done: self._settled(key_id, done))

    def state(self) -> dict[str, Any]:
        """See Limiter."""
        return {"kind": "redis", "state": "failing" if self._error else "ok", "error": self._error}

    async def aclose(self) -> None:
        """Give back what is held, and close the connections."""
        if self._renewing is not None:
            await tasks.stop(self._renewing)
        if settling := [task for each in self._settling.values() for task in each]:
            await asyncio.wait(settling, timeout=1)
            await tasks.stop(*settling)
        await self._redis.aclose()

    def _settled(self, key_id: str, done: "asyncio.Task[None]") -> None:
        rest = self._settling.get(key_id, set())
        rest.discard(done)
        if not rest:
            self._settling.pop(key_id, None)

    async def _settle(self, key_id: str, limits: Limits, more: float, lease: str) -> None:
        await self._ask("settle", key_id, limits, more, lease)

    async def _ask(self, what: str, key_id: str, limits: Limits, tokens: float, lease: str) -> Any:
        """What the script says; None while Redis is away."""
        if self._error is not None:
            if time.monotonic() < self._rests_until:
                return None
            self._rests_until = time.monotonic() + REST  # the others go on, until this one knows
        args: Arguments = [
            what,
            limits.rpm or 0,
            limits.tpm or 0,
            limits.concurrency or 0,
            tokens,
            lease,
            self._lease,
        ]
        try:
            async with asyncio.timeout(2 * PATIENCE):
                answer = await self._script(_keys(key_id), args)
        except FAILURES as error:
            self._fails(error)
            return None
        self._works()
        return answer

    def _renew(self) -> None:
        if self._renewing is None or self._renewing.done():
            self._renewing = tasks.start(self._keep_leases(), "limits:leases")

    async def _keep_leases(self) -> None:
        """Renew the leases of what still runs, as long as there are any."""
        while self._leases:
            await asyncio.sleep(self._lease / 3)
            try:
                async with asyncio.timeout(self._lease / 3):
                    pipeline = self._redis.pipeline(transaction=False)
                    for lease, key_id in tuple(self._leases.items()):
                        args: Arguments = ["renew", 0, 0, 0, 0, lease, self._lease]
                        await self._script(_keys(key_id), args, client=pipeline)
                    await pipeline.execute()
            except FAILURES as error:
                self._fails(error)

    def _fails(self, error: Exception) -> None:
        if self._error is None:
            log.warning(
                "the limiter's Redis does not answer", error=type(error).__name__, then=self._when_down
            )
        # No text of the client's: it may hold the URL with its password.
        self._error = f"Redis does not answer ({type(error).__name__})"
        self._rests_until = time.monotonic() + REST

    def _works(self) -> None:
        if self._error is not None:
            log.info("the limiter's Redis answers again")
        self._error = None


def _keys(key_id: str) -> list[str]:
    """The names of what Redis keeps of a key; the braces keep both on one node of a cluster."""
    return [f"aibridge:{{{key_id}}}:rates", f"aibridge:{{{key_id}}}:leases"]
