"""Old rows go, and users are forgotten, in both databases: all of theirs and nothing else."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa

from aibridge.config import Records
from aibridge.facts import Fact
from aibridge.ids import new_id
from aibridge.nouns import Caller
from aibridge.records import forgetting, retention
from aibridge.records.answer_ids import AnswerIds
from aibridge.records.asking import Asking
from aibridge.records.entries import Encoder
from aibridge.records.folding import fold
from aibridge.records.forgetting import Whom, count, forget
from aibridge.records.hidden_turns import HiddenTurns
from aibridge.records.retention import Retention, prune
from aibridge.records.store import Store
from tests.records.telling import Place, ended, round_ended, started, whole

TABLES = ("exchanges", "token_usages", "tool_calls", "prompts", "thoughts")
NOW = datetime.now(UTC)
ADA = Whom("user", "ada")


def _fold(store: Store, facts: list[Fact], worker: str = "worker-1") -> None:
    encode = Encoder(Records(results=True))
    assert fold(store, [encode(fact) for fact in facts], worker) == 0


def _made_at(when: datetime, number: int = 0) -> str:
    """An id as an exchange has that began then."""
    random = UUID(new_id()).int & ((1 << 80) - 1)
    return str(UUID(int=int(when.timestamp() * 1000) << 80 | random))


def _left(place: Place) -> dict[str, set[str]]:
    keys = {table: "id" if table == "exchanges" else "exchange_id" for table in TABLES}
    return {
        table: {row[0] for row in place.select(f"SELECT {key} FROM {table}")} for table, key in keys.items()
    }


def _keep(store: Store, user: str | None, caller: str = "c") -> None:
    """A hidden turn and an answer of theirs."""
    name = f"{caller}-{user}"
    turns, answers = HiddenTurns(store, Asking()), AnswerIds(store, Asking())
    asyncio.run(turns.put(name.encode(), b"content", newest_wins=True, caller=caller, user=user))
    asyncio.run(answers.put({name: b"content"}, caller=caller, user=user))


def _kept_of(place: Place) -> list[tuple[str, ...]]:
    """Whose hidden turns there are, and whose answers."""
    queries = (f'SELECT "user" FROM {table}' for table in ("hidden_turns", "answer_ids"))
    return [tuple(sorted(str(user) for (user,) in place.select(query))) for query in queries]


def _with(facts: list[Fact], **changes: object) -> list[Fact]:
    first = facts[0]
    return [started(first.exchange_id, **changes), *facts[1:]]


def test_what_is_older_goes_from_all_tables_in_batches(
    store: Store, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 7)
    limit = NOW - timedelta(days=90)
    old = [_made_at(limit - timedelta(hours=1 + number)) for number in range(40)]
    new = [_made_at(limit + timedelta(hours=1 + number)) for number in range(10)]
    for name in [*old, *new]:
        _fold(store, whole(name))
    orphan = _made_at(limit - timedelta(days=1))
    _fold(store, [round_ended(orphan)])
    gone = prune(store, limit)
    assert gone["exchanges"] == 40 and gone["token_usages"] == 81
    assert _left(place) == {table: set(new) for table in TABLES}
    assert prune(store, limit).total() == 0


def test_one_process_of_several_prunes_once_a_day(store: Store, place: Place) -> None:
    _fold(store, whole(_made_at(NOW - timedelta(days=2))))
    chores = [Retention(store, 86400.0) for _ in range(3)]
    for chore in chores:
        chore._next = 0.0
        chore()
    assert place.select("SELECT count(*) FROM exchanges") == [(0,)]
    _fold(store, whole(_made_at(NOW - timedelta(days=2))))
    for chore in chores:
        chore._next = 0.0
        chore()
    assert place.select("SELECT count(*) FROM exchanges") == [(1,)], "not again on the same day"


def test_all_of_one_user_goes_and_nothing_else(
    store: Store, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "BATCH", 3)
    theirs = [new_id() for _ in range(10)]
    others = [new_id() for _ in range(5)]
    for name in theirs:
        _fold(store, _with(whole(name), started_at=NOW.timestamp() - 10))
    for name in others:
        _fold(store, _with(whole(name), user="bob"))
    for user in ("ada", "bob", None):
        _keep(store, user)
    with store.reading() as connection:
        counted = count(connection, ADA)
    assert counted["exchanges"] == 10 and counted["hidden_turns"] == counted["answer_ids"] == 1
    assert _left(place)["exchanges"] == {*theirs, *others}, "counting deletes nothing"
    assert forget(store, ADA) == counted
    assert _left(place) == {table: set(others) for table in TABLES}
    assert _kept_of(place) == [("None", "bob")] * 2


def test_what_was_still_in_a_journal_does_not_come_back(store: Store, place: Place) -> None:
    """The demand came between the end of the exchanges and their folding, and while others ran."""
    early = NOW.timestamp() - 10
    pending, runs, later = new_id(), new_id(), new_id()
    _fold(store, _with(whole(runs), started_at=early)[:-1])
    forget(store, ADA)
    _fold(store, _with(whole(pending), started_at=early))
    assert _left(place)["exchanges"] == {runs}, "it still runs: its row says whose the rest is"
    _fold(store, [ended(runs)])
    assert _left(place) == {table: set() for table in TABLES}
    _fold(store, _with(whole(later), started_at=datetime.now(UTC).timestamp() + 1))
    assert _left(place)["exchanges"] == {later}, "who comes back is recorded again"


def test_what_an_exchange_keeps_after_the_demand_goes_with_its_end(store: Store, place: Place) -> None:
    """It ran when its user was forgotten; what others keep meanwhile stays, and what its user keeps later."""
    name = new_id()
    _fold(store, _with(whole(name), started_at=NOW.timestamp() - 10)[:-1])
    forget(store, ADA)
    _keep(store, "ada")
    _keep(store, "bob")
    _fold(store, [ended(name, ended_at=datetime.now(UTC).timestamp())])
    assert _kept_of(place) == [("bob",)] * 2
    _keep(store, "ada")
    _fold(store, whole(new_id()))
    assert _kept_of(place) == [("ada", "bob")] * 2


def test_what_was_interrupted_after_a_demand_does_not_stay(store: Store, place: Place) -> None:
    _fold(store, _with(whole(new_id()), started_at=NOW.timestamp() - 10)[:-1])
    forget(store, ADA)
    assert store.interrupt("worker-1") == 1
    assert _left(place) == {table: set() for table in TABLES}


def test_a_caller_and_a_key_are_forgotten_too(store: Store, place: Place) -> None:
    first, second = new_id(), new_id()
    _fold(store, _with(whole(first), caller=Caller("hmac-1"), started_at=NOW.timestamp() - 10))
    _fold(store, _with(whole(second), caller=Caller("hmac-2"), started_at=NOW.timestamp() - 10))
    for caller in ("hmac-1", "hmac-2"):
        _keep(store, "ada", caller)
    forget(store, Whom("caller", "hmac-1"))
    assert _left(place)["exchanges"] == {second}
    assert place.select("SELECT caller FROM answer_ids") == [("hmac-2",)]
    forget(store, Whom("key_id", "hmac-2"))
    assert _kept_of(place) == [()] * 2, "the caller of a key is its id"


def test_a_demand_is_dropped_when_nothing_can_come_any_more(store: Store, place: Place) -> None:
    forget(store, ADA)
    with store.writing() as connection:
        connection.execute(sa.text("UPDATE forgotten SET before = '2020-01-01 00:00:00'"))
    prune(store, NOW - timedelta(days=90))
    assert place.select("SELECT * FROM forgotten") == []
