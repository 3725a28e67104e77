"""Programs end with aibridge, however it ends, and one that keeps ending is not started for ever."""

import os
import signal
import sys
from pathlib import Path

import pytest

from aibridge.config import McpServer
from aibridge.tools import server as room
from aibridge.tools.backoff import Backoff
from aibridge.tools.server import Server
from tests.support.bridge import Bridge
from tests.support.environment import clean_env
from tests.support.processes import Program
from tests.support.waiting import eventually
from tests.tools.boxes import ask, opened, until

ROOT = Path(__file__).parents[2]
STUBBORN = """
import os, signal, sys, time
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
open(sys.argv[1], "w").write(str(os.getpid()))
while True:
    time.sleep(100)
"""


def _runs(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere programs have to see their stdin close")
def test_a_program_that_ignores_everything_dies_with_a_killed_bridge(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    config = {
        "upstreams": {"up": {"base_url": "http://127.0.0.1:1/v1"}},
        "mcp_servers": {
            "stubborn": {"command": sys.executable, "args": ["-c", STUBBORN, str(note)]},
            "demo": {"command": sys.executable, "args": ["-m", "aibridge.demo.tools"]},
        },
    }
    with Bridge(tmp_path, config, connected=("demo",)) as bridge:
        pid = int(eventually(lambda: note.exists() and note.read_text(), what="the program's start") or 0)
        assert _runs(pid)
        children = [int(each) for each in _children(bridge.program.pid)]
        assert pid in children and len(children) == 2
        bridge.kill()
        eventually(lambda: not any(_runs(each) for each in children), what="the end of all programs")


def _children(pid: int) -> list[str]:
    return [
        word for path in Path(f"/proc/{pid}/task").glob("*/children") for word in path.read_text().split()
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="there is no launcher elsewhere")
def test_a_program_is_not_started_for_a_parent_that_is_gone(tmp_path: Path) -> None:
    child = ROOT / "aibridge" / "tools" / "child.py"
    command = (sys.executable, "-I", "-S", child, str(os.getppid()), "touch", tmp_path / "started")
    program = Program(command, tmp_path, clean_env(tmp_path / "home"), "child")
    assert eventually(lambda: program.status) == 127
    assert not (tmp_path / "started").exists()
    program.stop()


@pytest.mark.anyio
@pytest.mark.usefixtures("nothing_left")
async def test_a_program_gets_its_arguments_as_they_are(tmp_path: Path) -> None:
    script = f'test "$1 $2 $#" = "a  b  \\$HOME 3" && exec {sys.executable} -m tests.tools.house'
    odd = McpServer(command="sh", args=["-c", script, "sh", "a  b", " $HOME", ""], cwd=str(ROOT))
    async with opened({"odd": odd}) as box:
        assert (await ask(box, "odd__echo", text="here")).text == "here"


@pytest.mark.anyio
@pytest.mark.usefixtures("nothing_left")
async def test_a_relative_program_is_looked_for_in_its_folder(tmp_path: Path) -> None:
    script = tmp_path / "start.sh"
    script.write_text(f"#!/bin/sh\ncd {ROOT} && exec {sys.executable} -m tests.tools.house\n")
    relative = McpServer(command="./start.sh", cwd=str(tmp_path))
    async with opened({"house": relative}, connected=False) as box:
        await until(lambda: box.states()["house"]["error"] == "It cannot be started: Permission denied.")
    script.chmod(0o755)
    async with opened({"house": relative}) as box:
        assert (await ask(box, "house__echo", text="here")).text == "here"


@pytest.mark.anyio
@pytest.mark.usefixtures("nothing_left")
async def test_a_program_that_keeps_ending_is_only_tried_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "RESTARTS", 3)
    note = tmp_path / "starts"
    crashing = McpServer(command="sh", args=["-c", f"echo x >> {note}; exit 3"])
    server = Server("crashing", crashing)
    server.start()
    await until(lambda: "It ended too often" in (server.error or ""))
    assert note.read_text().split() == ["x"] * 3
    assert (server.state, server.vitals.running) == ("unavailable", 0)
    with pytest.raises(Exception, match="It ended too often"):
        await server.call("any", {})
    await server.aclose()


@pytest.mark.anyio
@pytest.mark.usefixtures("nothing_left")
async def test_a_program_that_was_killed_by_somebody_is_not_a_zombie(house_program: McpServer) -> None:
    before = set(_children(os.getpid()))
    async with opened({"house": house_program}) as box:
        [pid] = map(int, set(_children(os.getpid())) - before)
        os.kill(pid, signal.SIGKILL)
        await until(lambda: box.states()["house"]["restarts"] == 1)
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_after_too_many_short_lives_waits_are_slow_until_one_was_long() -> None:
    backoff = Backoff(1, 8, most=3, slow=300)
    waits = [backoff.after(0) for _ in range(4)]
    assert [wait > 100 for wait in waits] == [False, False, True, True]
    assert backoff.is_slow
    assert backoff.after(8) < 2 and not backoff.is_slow
