"""What a process knows of kept answers: read again after a minute, so that what is forgotten is forgotten."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from aibridge.bridge import lately
from aibridge.bridge.lately import FRESH, Lately
from aibridge.records.answer_ids import AnswerIds
from aibridge.records.asking import Asking
from aibridge.records.store import Store
from aibridge.records.tables import answer_ids
from tests.support.stores import in_file, opened


class Time:
    """Seconds that pass when a test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with opened(in_file(tmp_path)) as store:
        yield store


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def known(store: Store, time: Time) -> Lately:
    return Lately(AnswerIds(store, Asking()), "answers", time)


def _put(known: Lately, **contents: bytes) -> None:
    asyncio.run(known.put(contents, caller="c", user=None))


def _get(known: Lately, *keys: str) -> dict[str, bytes]:
    return asyncio.run(known.get(keys))


def _delete_all(store: Store) -> None:
    with store.writing() as connection:
        connection.execute(sa.delete(answer_ids))


def test_what_was_deleted_in_the_store_is_forgotten_within_a_minute(
    known: Lately, store: Store, time: Time
) -> None:
    _put(known, one=b"1", two=b"2")
    _delete_all(store)
    assert _get(known, "one", "two", "three") == {"one": b"1", "two": b"2"}
    time.now = FRESH
    assert _get(known, "one", "two", "three") == {}


def test_what_another_process_kept_is_found_and_asked_for_once(
    known: Lately, store: Store, time: Time
) -> None:
    _put(Lately(AnswerIds(store, Asking()), "answers"), one=b"1")
    assert _get(known, "one") == {"one": b"1"}
    _delete_all(store)
    assert _get(known, "one") == {"one": b"1"}, "within the minute"


def test_while_the_store_fails_what_was_known_still_leads_on(known: Lately, store: Store, time: Time) -> None:
    _put(known, one=b"1")
    with store.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE answer_ids RENAME TO elsewhere")
    _put(known, two=b"2")
    time.now = FRESH
    assert _get(known, "one", "two") == {"one": b"1", "two": b"2"}
    with store.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE elsewhere RENAME TO answer_ids")
    fresh = Lately(AnswerIds(store, Asking()), "answers")
    assert _get(fresh, "one", "two") == {"one": b"1"}, "the other is in its process only"
    time.now = 100 * FRESH
    assert _get(known, "two") == {"two": b"2"}, "where nobody else has it, it stays"


def test_the_oldest_go_where_it_is_too_much(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lately, "LARGEST", 3 * lately.ENTRY + 100)
    alone = Lately(None, "answers")
    for name in ("one", "two", "three", "four"):
        _put(alone, **{name: b"x" * 50})
    assert set(_get(alone, "one", "two", "three", "four")) == {"three", "four"}
    shared = Lately(AnswerIds(store, Asking()), "answers")
    _put(shared, large=b"x" * 5000)
    assert _get(shared, "large") == {"large": b"x" * 5000}, "read again"
