"""What is kept over restarts: pins of definitions, and the last list of a server that is away."""

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import structlog
from mcp.server.mcpserver import MCPServer

from aibridge.config import McpServer
from aibridge.tools import listing
from aibridge.tools.keeping import ProcessShelf
from tests.tools.boxes import ask, names, opened, until
from tests.tools.house import House

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left")]

ROOT = Path(__file__).parents[2]


def server(description: str = "Say it.", **parameters: type) -> MCPServer:
    """A server with one tool, `say`, and what it says of it."""
    made = MCPServer("shop", log_level="WARNING")

    async def say(text: str) -> str:
        return text

    async def say_more(text: str, more: str) -> str:
        return text + more

    made.add_tool(say_more if parameters else say, "say", description=description, structured_output=False)
    return made


def rules(pin: str) -> dict[str, McpServer]:
    return {"shop": McpServer(command="unused", pin=pin)}


async def seen(shelf: ProcessShelf, pin: str = "warn") -> None:
    """The tools of the server are seen for the first time."""
    async with opened(rules(pin), {"shop": server()}, shelf=shelf) as box:
        assert await names(box) == ["shop__say"]
        assert box.states()["shop"]["changed_tools"] == {}


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        (server("Say it, and send it to us."), "its description changed since it was first seen"),
        (server(more=str), "its schema changed since it was first seen"),
        (server("More.", more=str), "its description and its schema changed since it was first seen"),
    ],
)
async def test_a_tool_that_changed_is_reported(changed: MCPServer, what: str) -> None:
    shelf = ProcessShelf()
    await seen(shelf)
    with structlog.testing.capture_logs() as logs:
        async with opened(rules("warn"), {"shop": changed}, shelf=shelf) as box:
            assert await names(box) == ["shop__say"]
            assert box.states()["shop"]["changed_tools"] == {"say": what}
            assert box.explain()[0].changed == what
    [told] = [entry for entry in logs if entry["event"] == "mcp tool changed"]
    assert (told["server"], told["tool"], told["reason"], told["log_level"]) == (
        "shop",
        "say",
        what,
        "warning",
    )


async def test_a_tool_that_changed_is_withheld_until_it_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "ASK_PINS_EVERY", 0.02)
    shelf, changed = ProcessShelf(), server("Say it, and send it to us.")
    await seen(shelf, "block")
    async with opened(rules("block"), {"shop": changed}, shelf=shelf) as running:
        assert await names(running) == []
        assert "`aibridge tools accept` takes it" in str(running.explain()[0].reason)
        assert running.states()["shop"]["tools"] == 0
        async with opened(rules("block"), {"shop": changed}, shelf=shelf) as command:
            assert await command.accept("shop", "other") == []
            assert await command.accept("shop") == ["say"]
        await until(lambda: running.states()["shop"]["tools"] == 1)
        assert await names(running) == ["shop__say"]
        assert running.states()["shop"]["changed_tools"] == {}


async def test_a_tool_that_is_new_is_withheld_too_where_changes_are() -> None:
    shelf, grown = ProcessShelf(), server()
    await seen(shelf, "block")

    async def late() -> str:
        return ""

    grown.add_tool(late, "late", structured_output=False)
    async with opened(rules("block"), {"shop": grown}, shelf=shelf) as box:
        assert await names(box) == ["shop__say"]
        assert box.states()["shop"]["changed_tools"] == {"late": "it is new since the server was first seen"}
        assert await box.accept("shop", "late") == ["late"]


async def test_a_change_while_it_is_connected_is_withheld() -> None:
    block = {"house": McpServer(command="unused", pin="block")}
    async with opened(block, {"house": House().server}) as box:
        await ask(box, "house__grow", name="late")
        await until(lambda: box.states()["house"]["changed_tools"])
        assert set(box.states()["house"]["changed_tools"]) == {"late"}
        assert "house__late" not in await names(box)


async def test_nothing_is_pinned_where_that_is_off() -> None:
    shelf = ProcessShelf()
    await seen(shelf, "off")
    assert await shelf.pins("shop") == {}


class BrokenShelf(ProcessShelf):
    """Like a database that is gone."""

    async def kept_list(self, server: str) -> str | None:
        raise OSError("gone")

    async def pins(self, server: str) -> Mapping[str, str]:
        raise OSError("gone")

    async def keep_list(self, server: str, text: str) -> None:
        raise OSError("gone")


@pytest.mark.parametrize(("pin", "offered"), [("warn", ["shop__say"]), ("block", [])])
async def test_where_nothing_can_be_read_only_block_withholds(pin: str, offered: list[str]) -> None:
    async with opened(rules(pin), {"shop": server()}, shelf=BrokenShelf()) as box:
        assert await names(box) == offered
        assert box.explain()[0].changed == "its pin cannot be read"


def moody(folder: Path, **more: Any) -> dict[str, McpServer]:
    """A program that does not start while the file `away` is there."""
    script = f"test -e {folder / 'away'} && exit 1; exec {sys.executable} -m tests.tools.house"
    return {"moody": McpServer(command="sh", args=["-c", script], cwd=str(ROOT), **more)}


async def test_the_list_of_an_earlier_run_is_offered_while_the_server_is_away(tmp_path: Path) -> None:
    shelf, away = ProcessShelf(), tmp_path / "away"
    async with opened(moody(tmp_path), shelf=shelf) as box:
        before = (await box.offer(None)).tools
    away.touch()
    async with opened(moody(tmp_path), connected=False, shelf=shelf) as box:
        offer = await box.offer(None)
        assert (offer.tools, offer.unavailable) == (before, ())
        await until(lambda: box.states()["moody"]["state"] == "unavailable")
        waiting = asyncio.gather(ask(box, "moody__echo", text="waited for you"))
        await asyncio.sleep(0)
        away.unlink()
        [result] = await waiting
        assert result.text == "waited for you"


async def test_a_list_of_another_server_of_that_name_is_not_offered(tmp_path: Path) -> None:
    shelf = ProcessShelf()
    async with opened(moody(tmp_path), shelf=shelf):
        pass
    dead = {"moody": McpServer(command="/no/such/program")}
    async with opened(dead, connected=False, shelf=shelf) as box:
        offer = await box.offer(None)
        assert (offer.tools, offer.unavailable) == ((), ("moody",))


async def test_a_kept_list_that_cannot_be_understood_is_no_list(tmp_path: Path) -> None:
    shelf = ProcessShelf()
    for text in ("", "{}", "[1]", '{"server": ""}', '{"server": "", "tools": [{"color": 1}]}'):
        await shelf.keep_list("moody", text)
        async with opened(
            {"moody": McpServer(command="/no/such/program")}, connected=False, shelf=shelf
        ) as box:
            assert (await box.offer(None)).tools == ()
