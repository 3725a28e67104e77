"""The keys that a process knows: bounded in age, never waited for, there while the database is away."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aibridge.access import secrets
from aibridge.access.asking import Asking
from aibridge.access.key import Key
from aibridge.access.keyring import Keyring
from aibridge.access.ports import Row
from aibridge.access.spending import Spending
from aibridge.config import KeyRules
from aibridge.errors import BridgeError, Kind

MADE = datetime(2026, 1, 1, tzinfo=UTC)


class Shelf:
    """A database of one process's own, which can be away."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self.spent_elsewhere, self.changes, self.away, self.read = 0, 0, False, 0

    def make(self, budget: str | None = None) -> str:
        """A new key; its text."""
        key_id = secrets.new_id()
        minted = secrets.mint(key_id)
        self.put(Key(key_id, "k", KeyRules(budget=budget), minted.hash, MADE).row(), {})
        return minted.text

    def version(self) -> str:
        """See ports."""
        if self.away:
            raise OSError("the database is away")
        return str(self.changes)

    def all_keys(self) -> Sequence[Row]:
        """See ports."""
        self.read += 1
        return list(self.rows.values())

    def put(self, row: Row, told: Row) -> None:
        """See ports."""
        self.rows[row["id"]], self.changes = dict(row), self.changes + 1

    def change(self, key_id: str, row: Row, told: Row) -> None:
        """See ports."""
        self.rows[key_id] |= dict(row)
        self.changes += 1

    def note(self, told: Row) -> None:
        """See ports."""

    def audit(self, limit: int, before: str | None = None) -> Sequence[Row]:
        """See ports."""
        return []

    def spent(self, key_id: str, since: datetime) -> int:
        """See ports."""
        return self.spent_by_others(key_id, since)

    def spent_by_others(self, key_id: str, since: datetime) -> int:
        """See ports."""
        self.version()
        return self.spent_elsewhere


def _run(talk: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(talk(), 20))


def _refusal(keyring: Keyring, text: str) -> Kind:
    with pytest.raises(BridgeError) as refused:
        keyring.find(text)
    return refused.value.kind


def test_known_keys_work_while_the_database_is_away_and_changes_are_seen_when_it_is_back() -> None:
    async def talk() -> None:
        shelf = Shelf()
        text, keyring = shelf.make(), Keyring(shelf)
        await keyring.look()
        shelf.away = True
        await keyring.look()
        assert keyring.state()["error"] == "the database is away"
        assert keyring.find(text).name == "k"
        shelf.change(keyring.find(text).id, {"revoked_at": MADE}, {})
        shelf.away = False
        await keyring.look()
        assert keyring.state()["error"] is None
        assert _refusal(keyring, text) is Kind.INVALID_KEY

    _run(talk)


def test_a_database_that_hangs_is_asked_once() -> None:
    async def talk() -> None:
        hangs = threading.Event()
        asking, asked = Asking(patience=0.05), list[int]()

        def hang() -> None:
            asked.append(1)
            hangs.wait()

        for said in ("did not answer within", "still does not answer", "still does not answer"):
            with pytest.raises(TimeoutError, match=said):
                await asking.ask(hang)
        assert asked == [1]
        hangs.set()
        assert await _answered(asking) == "an answer"

    _run(talk)


async def _answered(asking: Asking) -> str:
    """The first answer of a database that has come back."""
    for _ in range(1000):
        try:
            return await asking.ask(lambda: "an answer")
        except TimeoutError:
            await asyncio.sleep(0.01)
    raise AssertionError("it was not asked again")


def test_before_the_first_look_a_key_is_not_called_unknown() -> None:
    async def talk() -> None:
        shelf = Shelf()
        text, keyring = shelf.make(), Keyring(shelf)
        shelf.away = True
        await keyring.look()
        assert _refusal(keyring, text) is Kind.OVERLOADED

    _run(talk)


def test_keys_are_only_read_when_something_has_changed() -> None:
    async def talk() -> None:
        shelf = Shelf()
        keyring = Keyring(shelf)
        for _ in range(3):
            await keyring.look()
        assert shelf.read == 1
        text = shelf.make()
        await keyring.look()
        assert shelf.read == 2
        assert keyring.find(text)

    _run(talk)


def test_a_key_expires_without_any_look() -> None:
    async def talk() -> None:
        now = MADE
        shelf = Shelf()
        text, keyring = shelf.make(), Keyring(shelf, now=lambda: now)
        [row] = shelf.rows.values()
        row["expires_at"] = MADE + timedelta(days=1)
        await keyring.look()
        assert keyring.find(text)
        now = MADE + timedelta(days=1)
        assert _refusal(keyring, text) is Kind.INVALID_KEY

    _run(talk)


@pytest.mark.parametrize(
    "text", ["sk-aib-", "sk-aib--", "sk-aib-x", "sk-aib-" + "x" * 10_000, "sk-aib-\N{SNOWMAN}-1", "else"]
)
def test_nonsense_is_no_key(text: str) -> None:
    async def talk() -> None:
        shelf = Shelf()
        shelf.make()
        keyring = Keyring(shelf)
        await keyring.look()
        assert _refusal(keyring, text) is Kind.INVALID_KEY

    _run(talk)


def test_spending_is_by_period_and_outlives_a_database_that_is_away() -> None:
    async def talk() -> None:
        now = MADE.timestamp() + 10
        shelf = Shelf()
        shelf.make(budget="1/1h")
        [row] = shelf.rows.values()
        key = Key.of(row)
        spending = Spending(shelf, lambda: now)
        shelf.spent_elsewhere = 100
        assert await spending.spent(key) == 100
        spending.charge(key, now, 7)
        shelf.away = True
        assert await spending.spent(key) == 107
        assert spending.left(key) == 3590
        spending.charge(key, now - 3600, 1_000)  # began in the period before
        assert await spending.spent(key) == 107
        now += 3600
        assert await spending.spent(key) == 0

    _run(talk)
