"""Limits in a real Redis: shared by processes, gone with it and back with it, and nobody waits for it."""

import asyncio
import itertools
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from aibridge.access.buckets import Limits
from aibridge.access.limiter import LocalLimiter
from aibridge.access.redis_limiter import RedisLimiter
from tests.support.bridged import Bridged, bridged, configuration
from tests.support.keys import bearer, make_key
from tests.support.raw import (
    Got,
    RawUpstream,
    ask,
)
from tests.support.redis import RedisServer, redis_server
from tests.support.waiting import eventually

Json = dict[str, Any]
STREAM = b'{"model": "m-1", "stream": true, "messages": [{"role": "user", "content": "hi"}]}'


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@contextmanager
def _load(bridge: Bridged, key: Json) -> Iterator[list[Got]]:
    """Requests one after the other on three threads until the block ends; what they got."""
    got: list[Got] = []
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            got.append(ask(bridge.port, [bearer(key)]))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield got
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("when_down", ["allow", "deny"])
def test_redis_is_killed_and_started_again_under_load(
    upstream: RawUpstream, tmp_path: Path, when_down: str
) -> None:
    with redis_server(tmp_path) as server:
        access = {"redis": server.url, "on_limiter_down": when_down}
        with bridged(tmp_path, configuration(tmp_path, upstream.base_url, access=access)) as bridge:
            key = make_key(bridge.port, rpm=1_000_000, concurrency=50)

            def state() -> str:
                return str(bridge.app.states()["access"]["state"])

            with _load(bridge, key) as got:
                eventually(lambda: len(got) > 5)
                server.kill()
                eventually(lambda: state() == "failing", what="the failure in /readyz")
                seen = len(got)
                eventually(lambda: len(got) > seen + 10, what="answers while Redis is away")
                meanwhile = got[seen + 5 :]
                server.start()
                eventually(lambda: state() == "ok", what="Redis back in /readyz")
                back = len(got)
                eventually(lambda: len(got) > back + 10, what="answers with Redis")
                assert got[-1].status == 200
            statuses = {each.status for each in got}
            if when_down == "allow":
                assert statuses == {200}
            else:
                assert statuses == {200, 503}
                refused = [each for each in meanwhile if each.status == 503]
                assert refused and refused[0].error["code"] == "limiter_unavailable"
                assert refused[0].header("retry-after") == "1"
            # Callers without a key are no business of the limiter's.
            assert ask(bridge.port).status == 200


def test_while_redis_is_away_this_process_limits_by_itself(upstream: RawUpstream, tmp_path: Path) -> None:
    access = {"redis": "redis://127.0.0.1:9/0", "on_limiter_down": "allow"}
    with bridged(tmp_path, configuration(tmp_path, upstream.base_url, access=access)) as bridge:
        key = make_key(bridge.port, rpm=1)
        assert [ask(bridge.port, [bearer(key)]).status for _ in range(2)] == [200, 429]
        assert bridge.app.states()["access"]["error"].startswith("Redis does not answer")


def test_a_lease_is_renewed_by_its_process_and_ends_with_it(shared: RedisServer) -> None:
    limits, kept = Limits(concurrency=1), "aibridge:{kept}:leases"
    with asyncio.Runner() as runner, redis.Redis.from_url(shared.url) as looking:
        alive, other = (_limiter(shared, lease=1.5) for _ in range(2))
        assert runner.run(alive.admit("kept", limits, 0, "one")).refused is None
        first = looking.zscore(kept, "one")
        seconds, micros = looking.time()
        assert first <= seconds + micros / 1e6 + 1.5

        def renewed() -> bool:
            runner.run(asyncio.sleep(0.05))
            return bool(looking.zscore(kept, "one") != first)

        eventually(renewed, what="the lease's renewal")
        runner.run(alive.aclose())  # nothing is given back, as after a crash

        def free() -> bool:
            return runner.run(other.admit("kept", limits, 0, "two")).refused is None

        eventually(free, what="the end of the lease")
        runner.run(other.aclose())


def _limiter(server: RedisServer, lease: float) -> RedisLimiter:
    return RedisLimiter(server.url, "deny", lease)


def test_the_script_counts_as_the_arithmetic_does(shared: RedisServer) -> None:
    chance = random.Random(3)
    tpm = 2000
    limits = Limits(rpm=50, tpm=tpm, concurrency=4)

    async def talk() -> None:
        real, local = RedisLimiter(shared.url, "deny"), LocalLimiter()
        began, running, numbers = time.monotonic(), list[str](), itertools.count()
        for _ in range(150):
            if running and chance.random() < 0.4:
                lease, more = running.pop(), chance.randint(-300, 300)
                for each in (real, local):
                    each.settle("k", limits, more, lease)
            lease, tokens = str(next(numbers)), chance.randint(0, 200)
            one = await real.admit("k", limits, tokens, lease)
            other = await local.admit("k", limits, tokens, lease)
            room = (time.monotonic() - began) * tpm / 60 + 1
            if one.refused != other.refused:  # only where time alone decides
                assert abs(one.wait - other.wait) <= 2, (one, other)
                return
            assert abs(one.tokens_left - other.tokens_left) <= room
            assert abs(one.requests_left - other.requests_left) <= room
            if one.refused is None:
                running.append(lease)
        await real.aclose()

    asyncio.run(talk())
