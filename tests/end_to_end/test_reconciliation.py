"""What clients saw against what is recorded: under kills at random moments, and exchange by exchange.

`make soak` kills 200 times (or AIBRIDGE_SOAK_KILLS) and compares 10 000 exchanges; the normal run a few.
"""

import json
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.bridge import Bridge
from tests.support.clients import http_client
from tests.support.serving import Model

SOAK = bool(os.environ.get("AIBRIDGE_SOAK"))
KILLS, CLIENTS, EXCHANGES = (200, 8, 10_000) if SOAK else (2, 3, 60)
KILLS = int(os.environ.get("AIBRIDGE_SOAK_KILLS", KILLS))
SCRIPTS = (
    ("hello {tag}", 1, 0),
    ("{tag}\ncount 30", 1, 0),
    ('{tag}\ncall add {{"a": 1, "b": 2}}', 2, 1),
    ('{tag}\nsay so\nand call add {{"a": 1, "b": 2}} and call add {{"a": 3, "b": 4}}', 2, 2),
    ('{tag}\ncall add {{"a": 1, "b": 2}} then call add {{"a": 5, "b": 6}}', 3, 2),
)
"""What is asked, with the rounds and calls that it takes."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An answer that a client saw whole."""

    exchange: str
    tag: str
    status: int
    rounds: int
    calls: int
    streamed: bool


@dataclass
class Crowd:
    """Clients that ask without pause, and what they saw whole."""

    bridge: Bridge
    seen: list[Seen] = field(default_factory=list)
    broken: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    def ask_until_ended(self, number: int) -> None:
        """One question after another; those that a kill cuts are not seen."""
        dice, at = random.Random(number), 0
        while not self.ended.is_set():
            at += 1
            try:
                with http_client(timeout=20) as client:
                    self.seen.append(ask(client, self.bridge, f"t{number}-{at}", dice))
            except (httpx2.TransportError, ValueError):
                self.broken += 1
                self.ended.wait(0.02)


def ask(client: httpx2.Client, bridge: Bridge, tag: str, dice: random.Random) -> Seen:
    """Ask for something, streamed or not; ValueError where the answer is not whole."""
    script, rounds, calls = dice.choice(SCRIPTS)
    streamed = dice.random() < 0.5
    body = {"model": "m-1", "messages": [{"role": "user", "content": script.format(tag=tag)}]}
    answer = client.post(f"{bridge.base_url}/chat/completions", json={**body, "stream": streamed})
    if streamed and not answer.text.rstrip().endswith("data: [DONE]"):
        raise ValueError("no end")
    if not streamed and answer.status_code == 200:
        json.loads(answer.text)
    if answer.status_code != 200:
        raise ValueError(answer.text)
    return Seen(answer.headers["x-aibridge-exchange-id"], tag, 200, rounds, calls, streamed)


@pytest.fixture
def configured(tmp_path: Path, model: Model) -> Iterator[Bridge]:
    config = {
        "upstreams": {"up": {"base_url": model.base_url}},
        "mcp_servers": {"demo": {"command": sys.executable, "args": ["-m", "aibridge.demo.tools"]}},
    }
    bridge = Bridge(tmp_path, config)
    yield bridge
    bridge.program.stop()


@pytest.mark.timeout(3600)
def test_killed_at_any_moment_it_has_recorded_what_was_seen_once_and_nothing_else_as_whole(
    configured: Bridge,
) -> None:
    crowd, dice = Crowd(configured), random.Random(11)
    threads = [threading.Thread(target=crowd.ask_until_ended, args=(at,)) for at in range(CLIENTS)]
    configured.start()
    for thread in threads:
        thread.start()
    try:
        for _ in range(KILLS):
            time.sleep(dice.uniform(0.05, 0.6))  # the moment is what is tried
            configured.kill()
            configured.program.stop()
            configured.start()
    finally:
        crowd.ended.set()
        for thread in threads:
            thread.join()
    configured.stop()
    _reconcile(configured, crowd)
    print(f"{KILLS} kills, {len(crowd.seen)} answers seen whole, {crowd.broken} cut")


def _reconcile(bridge: Bridge, crowd: Crowd) -> None:
    rows = {row["id"]: row for row in bridge.rows("exchanges")}
    rounds = Counter(row["exchange_id"] for row in bridge.rows("token_usages"))
    calls = Counter(row["exchange_id"] for row in bridge.rows("tool_calls"))
    assert crowd.seen and len({each.exchange for each in crowd.seen}) == len(crowd.seen)
    for each in crowd.seen:
        row = rows[each.exchange]
        assert (row["status"], row["http_status"]) == ("completed", 200), each
        assert (row["rounds"], rounds[each.exchange], calls[each.exchange]) == (
            each.rounds,
            each.rounds,
            each.calls,
        ), each
    assert "running" not in {row["status"] for row in rows.values()}
    prompts = Counter(row["text"] for row in bridge.rows("prompts"))
    assert max(prompts.values()) == 1, "nothing is recorded twice"
    left = {path.suffix for path in (bridge.folder / "aibridge-journal").iterdir()}
    assert not left & {".owner", ".journal"}, "every journal is folded"


@pytest.mark.timeout(3600)
def test_the_records_say_what_the_upstream_said_of_every_exchange(configured: Bridge, model: Model) -> None:
    configured.start()
    dice, compared = random.Random(5), 0
    truth: dict[str, list[tuple[int, int]]] = {}
    seen: list[Seen] = []
    with http_client(timeout=20) as client:
        for number in range(EXCHANGES):
            tag = f"x{number:06}x"
            seen.append(ask(client, configured, tag, dice))
            truth[tag] = _told(model, tag)
            model.forget()  # or each look at it takes longer
    configured.stop()
    usages: dict[str, list[tuple[int, int]]] = {}
    for row in configured.rows("token_usages"):
        figures = (row["input"] + row["cache_read"] + row["cache_write"], row["output"])
        usages.setdefault(row["exchange_id"], []).append(figures)
    calls = Counter((row["exchange_id"], row["status"]) for row in configured.rows("tool_calls"))
    for each in seen:
        assert usages[each.exchange] == truth[each.tag], each
        assert calls[each.exchange, "ok"] == each.calls, each
        compared += 1
    assert compared == EXCHANGES == len(configured.rows("exchanges"))
    assert calls.total() == sum(each.calls for each in seen)
    print(f"{compared} exchanges, {sum(map(len, truth.values()))} rounds: equal")


def _told(model: Model, tag: str) -> list[tuple[int, int]]:
    """The tokens of each round as the upstream counted them."""
    told = []
    for asked in model.asked:
        with suppress(KeyError, IndexError, TypeError):
            if tag in json.dumps(asked.body["messages"]):
                usage: Any = asked.usage
                told.append((usage["prompt_tokens"], usage["completion_tokens"]))
    return told
