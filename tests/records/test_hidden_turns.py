"""Hidden turns in the database: whose key, whose content, for how long and how much."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
import sqlalchemy as sa

from aibridge.config import DatabaseUrl
from aibridge.records import hidden_turns as room
from aibridge.records.asking import Asking
from aibridge.records.failures import DatabaseFailing, EntryRefused
from aibridge.records.hidden_turns import HiddenTurns
from aibridge.records.store import Store
from aibridge.records.tables import hidden_turns
from tests.support.stores import in_file, opened

ONE, TWO = b"1" * 32, b"2" * 32


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with opened(in_file(tmp_path)) as store:
        yield store


def put(turns: HiddenTurns, key: bytes, content: bytes, *, newest_wins: bool = False) -> None:
    asyncio.run(turns.put(key, content, newest_wins=newest_wins, caller="c", user="u"))


def get(turns: HiddenTurns, *keys: bytes) -> dict[bytes, bytes]:
    return dict(asyncio.run(turns.get(keys)))


def test_what_one_process_keeps_another_finds(store: Store, tmp_path: Path) -> None:
    put(HiddenTurns(store, Asking()), ONE, b"content")
    other = Store(DatabaseUrl(f"sqlite:///{tmp_path}/records.db"))
    other.open()
    assert get(HiddenTurns(other, Asking()), ONE, TWO) == {ONE: b"content"}
    other.close()


def test_the_same_content_may_be_kept_again(store: Store) -> None:
    turns = HiddenTurns(store, Asking())
    put(turns, ONE, b"same")
    put(turns, ONE, b"same")
    assert get(turns, ONE) == {ONE: b"same"}


def test_two_contents_under_one_key_give_neither_for_ever(store: Store) -> None:
    turns = HiddenTurns(store, Asking())
    for content in (b"first", b"second", b"second"):
        put(turns, ONE, content)
    assert get(turns, ONE) == {}


def test_what_cannot_be_kept_is_told_as_the_database_failing(store: Store) -> None:
    turns = HiddenTurns(store, Asking())
    put(turns, ONE, b"content")
    with store.writing() as connection:
        hidden_turns.drop(connection)
    with pytest.raises(DatabaseFailing, match="hidden_turns"):
        put(turns, TWO, b"content")
    with store.writing() as connection:
        hidden_turns.create(connection)


def test_after_a_transaction_that_failed_the_next_is_kept(store: Store) -> None:
    turns, no_key = HiddenTurns(store, Asking()), cast(bytes, None)
    with pytest.raises(EntryRefused):
        put(turns, no_key, b"content")
    put(turns, ONE, b"content")
    assert get(turns, ONE) == {ONE: b"content"}


def test_of_a_named_conversation_the_newest_content_wins(store: Store) -> None:
    turns = HiddenTurns(store, Asking())
    put(turns, ONE, b"first", newest_wins=True)
    put(turns, ONE, b"second", newest_wins=True)
    assert get(turns, ONE) == {ONE: b"second"}


def test_after_a_day_it_is_gone(store: Store) -> None:
    turns = HiddenTurns(store, Asking())
    put(turns, ONE, b"old")
    yesterday = datetime.now(UTC) - timedelta(hours=24, seconds=1)
    with store.writing() as connection:
        connection.execute(sa.update(hidden_turns).values(kept_at=yesterday))
    assert get(turns, ONE) == {}
    put(HiddenTurns(store, Asking()), TWO, b"new")
    with store.reading() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(hidden_turns)) == 1


def test_the_oldest_go_first_when_it_is_too_much(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LARGEST", 250)
    keys = [bytes([number]) * 32 for number in range(5)]
    for key in keys:
        put(HiddenTurns(store, Asking()), key, b"x" * 100)
    put(HiddenTurns(store, Asking()), ONE, b"")  # a look for what is too much comes before what is put
    assert list(get(HiddenTurns(store, Asking()), *keys)) == keys[-2:]
