"""Many servers, many calls at a time, and a killer: no wrong result, no lost or double call, nothing leaked.

`make soak` runs it with 30 servers and 200 calls at a time for a minute.
"""

import asyncio
import os
import random
import signal
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from aibridge.config import McpServer
from aibridge.nouns import Result
from aibridge.tools import Toolbox
from tests.tools.boxes import a_call, all_in, ask, opened, until
from tests.tools.remotes import ROOT, Remote

LONG = bool(os.environ.get("AIBRIDGE_SOAK"))
SERVERS, AT_A_TIME, SECONDS = (30, 200, 60.0) if LONG else (6, 40, 5.0)
KINDS = ("stdio", "stdio", "auto", "legacy", "stdio", "sse")
NOT_RUN = ("was not run", "is not connected")


@dataclass
class Town:
    """The servers, their killer, and all that came of calls."""

    folder: Path
    servers: dict[str, McpServer] = field(default_factory=dict)
    remotes: dict[str, Remote] = field(default_factory=dict)
    results: dict[str, Result] = field(default_factory=dict)
    kills: Counter[str] = field(default_factory=Counter)

    def build(self) -> None:
        """Configure all servers; those over HTTP are not started yet."""
        for at in range(SERVERS):
            kind, name = KINDS[at % len(KINDS)], f"s{at}"
            place = self.folder / name
            place.mkdir()
            if kind == "stdio":
                args = ["-m", "tests.tools.house", "--notes", str(place / "notes")]
                self.servers[name] = McpServer(command=sys.executable, args=args, cwd=str(ROOT))
            else:
                self.remotes[name] = Remote(place, kind)
                self.servers[name] = self.remotes[name].server

    def notes(self, name: str) -> list[str]:
        """What the server wrote down."""
        return (self.folder / name / "notes").read_text().splitlines()

    async def kill_some(self, end: float, dice: random.Random) -> None:
        """Kill one server after another; what listens on a port is started again."""
        while time.monotonic() < end:
            name = dice.choice(list(self.servers))
            self.kills[name] += 1
            if name in self.remotes:
                self.remotes[name].kill()
                await self.remotes[name].start()
            else:
                started = [line.split()[1] for line in self.notes(name) if line.startswith("started")]
                with suppress(ProcessLookupError):
                    os.kill(int(started[-1]), signal.SIGKILL)
            await asyncio.sleep(dice.uniform(0.05, 0.5))

    async def keep_calling(self, box: Toolbox, end: float, worker: int, dice: random.Random) -> None:
        """One call after another, each at any server."""
        tools, at = (await box.offer(None)).tools, 0
        while time.monotonic() < end:
            at += 1
            name = dice.choice(list(self.servers))
            call = a_call(f"{name}__echo", f'{{"text": "{worker}-{at}"}}', id=f"{name} {worker}-{at}")
            [self.results[call.id]] = await box.run([call], tools, lambda call, result: None)

    def summary(self) -> str:
        """What happened, for `make soak`."""
        statuses = Counter(result.status for result in self.results.values())
        return f"{len(self.results)} calls ({dict(statuses)}), {self.kills.total()} kills"

    def check(self) -> None:
        """Every call gave its own result or a clear error, and was carried out once or, then, maybe never."""
        assert self.kills and sum(result.status == "ok" for result in self.results.values()) > SERVERS
        done = {name: Counter(self.notes(name)) for name in self.servers}
        for call, result in self.results.items():
            name, text = call.split()
            times = done[name][f"echo {text}"]
            if result.status == "ok":
                assert (result.text, times) == (text, 1), call
            else:
                assert result.status in ("error", "timeout") and name in result.text, result
                assert times <= (0 if any(words in result.text for words in NOT_RUN) else 1), result
        for name, counted in done.items():
            echoes = {line for line in counted if line.startswith("echo ")}
            known = {f"echo {call.split()[1]}" for call in self.results if call.split()[0] == name}
            assert echoes <= known | {"echo last"}


@pytest.mark.anyio
@pytest.mark.usefixtures("nothing_left")
@pytest.mark.timeout(600)
async def test_servers_are_killed_while_calls_run(tmp_path: Path) -> None:
    town, dice = Town(tmp_path), random.Random(7)
    town.build()
    sockets = _sockets()
    try:
        await asyncio.gather(*(remote.start() for remote in town.remotes.values()))
        async with opened(town.servers, connected=False) as box:
            await until(lambda: all_in(box, "connected"), "the connection to all servers", 120)
            end = time.monotonic() + SECONDS
            workers = [town.keep_calling(box, end, at, random.Random(at)) for at in range(AT_A_TIME)]
            await asyncio.gather(town.kill_some(end, dice), *workers)
            await until(lambda: all_in(box, "connected"), "the way back of all servers", 240)
            for name in town.servers:
                assert (await ask(box, f"{name}__echo", text="last")).text == "last"
        await asyncio.to_thread(town.check)
        print(town.summary())
    finally:
        for remote in town.remotes.values():
            remote.kill()
    await until(lambda: _sockets() <= sockets, "the end of all sockets")


def _sockets() -> int:
    """How many sockets this process has open."""
    found = 0
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the folder's own descriptor
            found += str(entry.readlink()).startswith("socket:")
    return found
