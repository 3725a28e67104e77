"""Programs that speak MCP over their stdin and stdout."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import structlog

from aibridge.config import McpServer
from aibridge.tools.server import Server
from tests.support.environment import python_program
from tests.tools.boxes import a_call, all_in, ask, children, names, opened, run, states, until

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left")]

ROOT = Path(__file__).parents[2]
BOTH = pytest.mark.parametrize("mode", ["auto", "legacy"])


def house(*args: str, **more: Any) -> dict[str, McpServer]:
    """The house of house.py as a program."""
    command = ["-m", "tests.tools.house", *args]
    return {"house": McpServer(command=sys.executable, args=command, cwd=str(ROOT), **more)}


async def test_a_foreign_server_is_called() -> None:
    time = McpServer(command=str(python_program("mcp-server-time")), args=["--local-timezone", "UTC"])
    async with opened({"time": time}) as box:
        assert await names(box) == ["time__convert_time", "time__get_current_time"]
        assert '"timezone": "UTC"' in (await ask(box, "time__get_current_time", timezone="UTC")).text
        assert (await ask(box, "time__get_current_time", timezone="Nowhere")).status == "error"


@BOTH
async def test_a_program_that_dies_in_a_call_fails_that_call_only(mode: str, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    async with opened(house("--notes", str(notes), mode=mode)) as box:
        killed = await ask(box, "house__die")
        assert (killed.status, "may have been carried out" in killed.text) == ("error", True)
        assert "house__echo" in await names(box)
        assert box.states()["house"]["state"] == "unavailable"
        assert (await ask(box, "house__echo", text="back")).text == "back"
    lines = notes.read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["started", "die", "started", "echo"]


@BOTH
async def test_a_cancelled_call_is_cancelled_at_the_program(mode: str, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    async with opened(house("--notes", str(notes), mode=mode)) as box:
        running = asyncio.gather(run(box, a_call("house__hang")))
        await until(lambda: "hang began" in notes.read_text())
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await until(lambda: "hang cancelled" in notes.read_text())


@BOTH
async def test_calls_of_one_turn_overlap(mode: str) -> None:
    async with opened(house(mode=mode)) as box:
        results = await run(box, *(a_call("house__meet", '{"count": 4}', id=str(at)) for at in range(4)))
        assert [result.text for result in results] == ["met 4"] * 4


@BOTH
async def test_a_changed_list_is_offered(mode: str) -> None:
    async with opened(house(mode=mode)) as box:
        await ask(box, "house__grow", name="brand_new")
        await until(lambda: any(told.name == "house__brand_new" for told in box.explain()))


async def test_what_a_program_writes_to_stderr_is_logged_without_its_secrets() -> None:
    with structlog.testing.capture_logs() as logs:
        async with opened(house(env={"SECRET": "swordfish-42"})) as box:
            await ask(box, "house__say", line="the word is swordfish-42")
            await until(lambda: any(entry["event"] == "mcp server wrote" for entry in logs))
    wrote = [entry for entry in logs if entry["event"] == "mcp server wrote"]
    assert [(entry["server"], entry["line"]) for entry in wrote] == [("house", "the word is ***")]


async def test_a_program_gets_its_own_environment_and_little_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-parent")
    async with opened(house(env={"SECRET": "swordfish-42"})) as box:
        told = (await ask(box, "house__environment")).text.split()
    assert {"PATH", "SECRET", "swordfish-42"} <= set(told)
    assert "OPENAI_API_KEY" not in told


async def test_a_program_that_never_answers_is_given_up_and_ended() -> None:
    mute = Server("mute", McpServer(command="sleep", args=["1000"]), connect_timeout=0.5)
    mute.start()
    await mute.known.wait()
    assert (mute.state, mute.error) == ("unavailable", "It did not answer within 0.5 s.")
    await mute.aclose()


async def test_a_toolbox_is_closed_while_a_program_still_starts() -> None:
    script = "echo here >&2; exec sleep 1000"
    with structlog.testing.capture_logs() as logs:
        async with opened({"mute": McpServer(command="sh", args=["-c", script])}, connected=False):
            await until(lambda: "mcp server wrote" in {entry["event"] for entry in logs})


async def test_a_program_that_ignores_its_end_is_killed() -> None:
    script = "trap '' TERM; echo here >&2; while true; do sleep 1000; done"
    with structlog.testing.capture_logs() as logs:
        async with opened({"stubborn": McpServer(command="sh", args=["-c", script])}, connected=False):
            await until(lambda: "mcp server wrote" in {entry["event"] for entry in logs})


@pytest.mark.parametrize(
    ("config", "error"),
    [
        (McpServer(command="/no/such/program"), "There is no program or folder '/no/such/program'."),
        (McpServer(command="sh", cwd="/no/such/folder"), "There is no program or folder '/no/such/folder'."),
        (McpServer(command="/"), "It cannot be started: Permission denied."),
        (McpServer(command="true"), "It ended without an answer."),
    ],
)
async def test_a_program_that_cannot_run_is_explained(config: McpServer, error: str) -> None:
    async with opened({"bad": config}, connected=False) as box:
        assert await names(box) == []
        assert states(box) == {"bad": {"state": "unavailable", "tools": 0, "error": error}}


async def test_noise_on_stdout_does_no_harm() -> None:
    script = f"echo '[banner] ready'; exec {sys.executable} -m tests.tools.house"
    noisy = McpServer(command="sh", args=["-c", script], cwd=str(ROOT))
    async with opened({"noisy": noisy}) as box:
        assert (await ask(box, "noisy__echo", text="heard")).text == "heard"


@pytest.mark.parametrize(("kept_away", "offered"), [(60.0, True), (0.0, False)])
async def test_the_last_known_tools_are_offered_for_a_while(kept_away: float, offered: bool) -> None:
    before = children()
    server = Server("house", house()["house"], kept_away=kept_away)
    server.start()
    await until(lambda: server.state == "connected")
    [pid] = children() - before
    os.kill(pid, signal.SIGKILL)
    await until(lambda: server.state == "unavailable")
    assert bool(server.listing().tools) == offered
    await server.aclose()


async def test_many_servers_come_and_go_together() -> None:
    many = {f"s{at}": house()["house"] for at in range(4)}
    async with opened(many) as box:
        assert all_in(box, "connected")
        results = await run(box, *(a_call(f"s{at}__echo", f'{{"text": "{at}"}}') for at in range(4)))
        assert [result.text for result in results] == ["0", "1", "2", "3"]
