"""Tool lists and pins in the database: shared by processes, the first pin wins unless it is replaced."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from aibridge.config import DatabaseUrl, Records
from aibridge.records import open_tool_shelf
from aibridge.records.asking import Asking
from aibridge.records.store import Store
from aibridge.records.tool_shelf import ToolShelf


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[ToolShelf]:
    store = Store(DatabaseUrl(f"sqlite:///{tmp_path}/records.db"))
    store.open()
    yield ToolShelf(store, Asking())
    store.close()


def test_the_last_list_of_a_server_is_kept(shelf: ToolShelf) -> None:
    async def keep() -> list[str | None]:
        await shelf.keep_list("time", "one")
        await shelf.keep_list("time", "two")
        return [await shelf.kept_list("time"), await shelf.kept_list("git")]

    assert asyncio.run(keep()) == ["two", None]


def test_the_first_pin_stays_until_it_is_replaced(shelf: ToolShelf) -> None:
    async def pin() -> None:
        await shelf.pin("time", {}, replace=False)
        assert await shelf.pins("time") == {}
        await shelf.pin("time", {"now": "1", "zone": "1"}, replace=False)
        await shelf.pin("time", {"now": "2", "more": "2"}, replace=False)
        assert await shelf.pins("time") == {"now": "1", "zone": "1", "more": "2"}
        await shelf.pin("time", {"now": "3"}, replace=True)
        assert await shelf.pins("time") == {"now": "3", "zone": "1", "more": "2"}
        assert await shelf.pins("git") == {}

    asyncio.run(pin())


def test_a_command_finds_what_a_server_kept_and_makes_no_database(shelf: ToolShelf, tmp_path: Path) -> None:
    asyncio.run(shelf.pin("time", {"now": "1"}, replace=False))
    found = open_tool_shelf(Records(url=f"sqlite:///{tmp_path}/records.db"))
    assert found is not None
    assert asyncio.run(found.pins("time")) == {"now": "1"}
    found.close()
    other = tmp_path / "other.db"
    assert open_tool_shelf(Records(url=f"sqlite:///{other}")) is None
    assert not other.exists()
