"""Mixed load on a real `aibridge serve` for a long time: nothing grows, all is recorded once.

`make soak` takes half an hour (AIBRIDGE_SOAK_SECONDS), the normal run some seconds.
"""

import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.end_to_end.soaking import MCP, Crowd, Seen, rough
from tests.support.bridge import Bridge
from tests.support.environment import free_port
from tests.support.raw import raw_upstream, send
from tests.support.serving import scripted_model
from tests.support.waiting import eventually

SOAK = bool(os.environ.get("AIBRIDGE_SOAK"))
SECONDS = float(os.environ.get("AIBRIDGE_SOAK_SECONDS", "1800" if SOAK else "4"))
CLIENTS = 16 if SOAK else 6
PARTS = 10 if SOAK else 2
"""The load pauses between them, and what lives is counted; the first one warms up."""
RELOADS_EVERY = 20.0 if SOAK else 1.0
SERVERS, LISTENS = 2, "0A"
LATER = Counter({"mcp:endpoint": 1})
"""Tasks that begin with the first request which needs them."""
THREADS = 16
"""That a pool may start when it is needed."""
TOOLS = {"command": sys.executable, "args": ["-m", "aibridge.demo.tools"]}
FILLS = {"sqlite3.Statement": 256, "weakref.ReferenceType": 1000, "aibridge.nouns.Tool": 500}
"""What a cache holds when it is full: the driver keeps 128 statements and references to 200 cursors of each
connection, and what is said of tools is remembered of the last 32 lists of them."""
LINGERS = "uvicorn.protocols.http.httptools_impl.RequestResponseCycle"
"""Of a connection that has ended."""
SEGMENT = ".journal"
SEGMENTS = 13
"""Descriptors of the journal's segments: two of the one that is written, of the next, and of each of four
that are left, and one of what is read."""


@dataclass(frozen=True, slots=True)
class State:
    """What a process holds while nobody asks."""

    memory: int
    """Resident, in KB."""
    threads: int
    descriptors: Counter[str]
    tasks: Counter[str]
    objects: int
    types: Counter[str]
    journal: int
    """Bytes in its folder."""

    def told(self) -> str:
        """In a line."""
        return (
            f"{self.memory / 1024:.0f} MB, {self.objects} objects, {self.descriptors.total()} descriptors,"
            f" {self.tasks.total()} tasks, {self.threads} threads, journal {self.journal} bytes"
        )


class Soaked:
    """The bridge under load."""

    def __init__(self, bridge: Bridge) -> None:
        self.bridge, self.crowd = bridge, Crowd(bridge.port, CLIENTS)
        self._process = Path(f"/proc/{bridge.program.pid}")
        self._reloads = 0
        self._tasks: Counter[str] | None = None
        """After the first part."""

    def part(self) -> State:
        """A part of the load, and what lives once it is over."""
        self.crowd.ask_for(SECONDS / PARTS, self._reload, RELOADS_EVERY)
        eventually(self._is_idle, 30, "the end of all exchanges, and their records")
        eventually(lambda: not self._connections(), 30, "the end of all connections")
        eventually(lambda: len(self._children()) == SERVERS, 30, "the end of MCP servers that left")
        eventually(self._has_no_more_tasks, 30, "the end of what was begun")
        eventually(lambda: LINGERS not in self.bridge.census()["types"], 30, "the end of what was answered")
        state = self._state()
        self._tasks = self._tasks or state.tasks | LATER
        return state

    def _has_no_more_tasks(self) -> bool:
        return self._tasks is None or Counter(self.bridge.census()["tasks"]) <= self._tasks

    def _reload(self) -> None:
        """Take up another configuration, with another MCP server, while exchanges run."""
        self._reloads += 1
        settings = yaml.safe_load(self.bridge.file.read_text())
        settings["bridge"] = {"max_rounds": 10 + self._reloads}
        settings["mcp_servers"]["changes"]["env"] = {"RELOADS": str(self._reloads)}
        self.bridge.file.write_text(yaml.safe_dump(settings))
        os.kill(self.bridge.program.pid, signal.SIGHUP)
        eventually(self._is_taken_up, 30, "the reload")

    def _is_taken_up(self) -> bool:
        told = send(self.bridge.port, method="GET", path="/api/config").json
        return bool(told["bridge"]["max_rounds"] == 10 + self._reloads)

    def _is_idle(self) -> bool:
        text = send(self.bridge.port, method="GET", path="/metrics").body.decode()
        samples = [each for family in text_string_to_metric_families(text) for each in family.samples]
        waiting = ("aibridge_in_flight", "aibridge_records_pending")
        servers = self.bridge.readiness()["mcp_servers"].values()
        return all(each.value == 0 for each in samples if each.name in waiting) and all(
            server["state"] == "connected" for server in servers
        )

    def _state(self) -> State:
        census, status = self.bridge.census(), (self._process / "status").read_text()
        figures = dict(line.split(":", 1) for line in status.splitlines())
        journal = (self.bridge.folder / "aibridge-journal").rglob("*")
        return State(
            memory=int(figures["VmRSS"].split()[0]),
            threads=int(figures["Threads"]),
            descriptors=Counter(kind for name in self._open() if (kind := _kind(name)) != "database"),
            tasks=Counter(census["tasks"]),
            objects=census["objects"],
            types=Counter(census["types"]),
            journal=sum(each.stat().st_size for each in journal if each.is_file()),
        )

    def _open(self) -> list[str]:
        """What its descriptors are."""
        found: list[str] = []
        for entry in (self._process / "fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                found.append(str(entry.readlink()))
        return found

    def _connections(self) -> list[str]:
        """Its TCP sockets but the one that listens."""
        rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
        sockets = {f"socket:[{row[9]}]": row[3] for row in rows}
        return [name for name in self._open() if sockets.get(name, LISTENS) != LISTENS]

    def _children(self) -> list[str]:
        """Its child processes."""
        return [pid for task in (self._process / "task").iterdir() for pid in _words(task / "children")]


@pytest.fixture
def soaked(tmp_path: Path) -> Iterator[Soaked]:
    dice = random.Random(3)
    with scripted_model(keep_alive=1) as model, raw_upstream(lambda talk: rough(talk, dice)) as rough_one:
        plainly = {"retries": 1, "breaker": "off"}
        config = {
            "upstreams": {
                "scripted": {"base_url": model.base_url, "models": ["m-*"], **plainly},
                "rough": {"base_url": rough_one.base_url, "models": ["rough"], **plainly},
                "down": {"base_url": f"http://127.0.0.1:{free_port()}/v1", "models": ["down"]},
            },
            "mcp_servers": {"demo": TOOLS, "changes": TOOLS},
            "telemetry": {"log": {"level": "warning"}},
        }
        bridge = Bridge(tmp_path, config)
        bridge.count()
        with bridge:
            yield Soaked(bridge)


@pytest.mark.timeout(2 * SECONDS + 300)
def test_nothing_grows_and_all_is_recorded_once(soaked: Soaked) -> None:
    states: list[State] = []
    for number in range(PARTS):
        states.append(soaked.part())
        print(f"part {number + 1} of {PARTS}: {states[-1].told()}, {len(soaked.crowd.seen)} answers")
    _compare(states[0], states[-1])
    assert soaked.crowd.troubles == []
    assert soaked.bridge.stop() == 0
    assert "Traceback" not in soaked.bridge.log
    _reconcile(soaked.bridge, soaked.crowd)


def _compare(first: State, last: State) -> None:
    """After the warm-up nothing may grow with what is served; what is bounded may fill up a little."""
    assert last.tasks <= first.tasks | LATER
    assert last.threads <= first.threads + THREADS
    assert last.descriptors <= first.descriptors | Counter({SEGMENT: SEGMENTS})
    grown = {name: (first.types[name], count) for name, count in last.types.items()}
    too_many = (name for name, both in grown.items() if both[1] > both[0] * 1.05 + FILLS.get(name, 25))
    assert {name: grown[name] for name in too_many} == {}
    assert last.objects < first.objects * 1.02
    assert last.memory < first.memory * 1.1 + 16 * 1024
    assert last.journal < first.journal + (1 << 20)


def _reconcile(bridge: Bridge, crowd: Crowd) -> None:
    """Each question is in the records once, and ended there as its client saw it end."""
    rows = {row["id"]: row for row in bridge.rows("exchanges")}
    tags = {row["text"].partition("\n")[0]: row["exchange_id"] for row in bridge.rows("prompts")}
    rounds = Counter(row["exchange_id"] for row in bridge.rows("token_usages"))
    calls = Counter(row["exchange_id"] for row in bridge.rows("tool_calls") if row["status"] != "relayed")
    over_mcp = [row for row in rows.values() if row["api"] == "mcp"]
    found: set[str] = set()
    for each in crowd.seen:
        assert each.end in each.wish.ends, each
        if each.wish.path == MCP:
            continue
        exchange = each.exchange or tags.get(each.tag)
        if exchange is None:
            assert each.end == "left" or not each.wish.begins, each
            continue  # the client had gone before it was read
        assert tags.get(each.tag, exchange) == exchange and exchange not in found
        found.add(exchange)
        _agree(each, rows[exchange], rounds[exchange], calls[exchange])
    called = sum(each.wish.path == MCP for each in crowd.seen)
    assert len(rows) == len(found) + called
    assert Counter(row["status"] for row in over_mcp) == {"completed": called}


def _agree(seen: Seen, row: dict[str, Any], rounds: int, calls: int) -> None:
    told = row["status"], row["http_status"]
    if seen.end == "whole":
        assert told == ("completed", 200), (seen, row)
        assert (row["rounds"], rounds, calls) == (seen.wish.rounds, seen.wish.rounds, seen.wish.calls), seen
    elif seen.end == "failed":
        assert told == ("failed", seen.status), (seen, row)
    else:
        assert row["status"] in ("cancelled", "completed"), (seen, row)


def _kind(descriptor: str) -> str:
    """What a descriptor is; connections to the database come and go with its pool."""
    name = descriptor.partition(":[")[0]
    return "database" if "/aibridge.db" in name else Path(name).suffix or name


def _words(file: Path) -> list[str]:
    with suppress(FileNotFoundError):  # a thread that has ended
        return file.read_text().split()
    return []
