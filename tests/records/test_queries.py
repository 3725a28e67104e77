"""Figures and stories: what is asked of the records."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from aibridge.config import Records
from aibridge.facts import Fact
from aibridge.nouns import Caller, Filter, Total, Usage
from aibridge.records import RecordsError, listing, queries
from aibridge.records.entries import Encoder
from aibridge.records.folding import fold
from aibridge.records.forgetting import Whom, count
from aibridge.records.narrowing import BY
from aibridge.records.queries import Story
from aibridge.records.store import Store
from aibridge.records.totals import totals
from tests.records.telling import (
    NOON,
    PROMPT,
    THOUGHT,
    Place,
    call_ended,
    ended,
    records_in,
    round_ended,
    started,
    whole,
)
from tests.support.stores import opened

DAY = 86400.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with opened(records_in(tmp_path).url) as store:
        yield store


def _told(store: Store, *facts: Fact) -> None:
    encode = Encoder(Records())
    fold(store, [encode(fact) for fact in facts], "worker-1")


def _totals(store: Store, by: str, since: datetime | None = None) -> list[Total]:
    with store.reading() as connection:
        return totals(connection, by, Filter(since=since))


def _exchange(store: Store, name: str) -> Story:
    with store.reading() as connection:
        return queries.exchange(connection, name)


def test_rounds_and_calls_of_an_exchange_are_each_counted_once(store: Store) -> None:
    _told(store, *whole("a"), call_ended("a"), call_ended("a", status="relayed", injected=False))
    assert _totals(store, "model") == [
        Total(
            "gpt-5",
            1,
            0,
            3,
            input=200,
            cache_read=40,
            cache_write=10,
            output=60,
            reasoning=20,
            unpriced=2,
            first_byte_p50=120,
            first_byte_p95=120,
            overhead_p50=0.35,
            overhead_p95=0.35,
        )
    ]


def test_groups_come_with_most_tokens_first(store: Store) -> None:
    for name, model, tokens in (("a", "small", 1), ("b", "large", 99), ("c", "small", 2)):
        _told(store, started(name, model=model), round_ended(name, usage=Usage(input=tokens)), ended(name))
    found = _totals(store, "model")
    assert [(total.group, total.exchanges, total.input) for total in found] == [
        ("large", 1, 99),
        ("small", 2, 3),
    ]


def test_failed_and_interrupted_exchanges_are_errors_and_cancelled_ones_are_not(store: Store) -> None:
    for status in ("completed", "cancelled", "failed"):
        _told(store, started(status), ended(status, status=status))
    _told(store, started("interrupted"))
    assert _totals(store, "model")[0].errors == 1
    store.interrupt("worker-1")
    assert _totals(store, "model")[0].errors == 2


@pytest.mark.parametrize(
    ("by", "group"),
    [
        ("model", "gpt-5"),
        ("user", "ada"),
        ("key", None),
        ("client", "Codex"),
        ("day", "2026-01-01"),
        ("upstream", "openai"),
        ("caller", "hmac-1"),
        ("tool", "time/now"),
    ],
)
def test_every_group_is_found(store: Store, by: str, group: str | None) -> None:
    caller = Caller("hmac-1", client="Codex")
    _told(store, started("a", caller=caller), round_ended("a"), call_ended("a"), ended("a"))
    assert [(total.group, total.exchanges, total.calls) for total in _totals(store, by)] == [(group, 1, 1)]
    assert by in BY


def test_an_unknown_group_raises(store: Store) -> None:
    with pytest.raises(KeyError):
        _totals(store, "weather")


def test_days_come_in_their_order(store: Store) -> None:
    for number in (2, 0, 1):
        name = f"day-{number}"
        _told(store, started(name, started_at=NOON + number * DAY), *[round_ended(name)] * (number + 1))
    assert [total.group for total in _totals(store, "day")] == ["2026-01-01", "2026-01-02", "2026-01-03"]


@pytest.mark.parametrize("by", ["model", "tool"])
def test_only_exchanges_of_the_period_count(store: Store, by: str) -> None:
    for number in range(3):
        name = f"day-{number}"
        _told(store, started(name, started_at=NOON + number * DAY), round_ended(name), call_ended(name))
    since = datetime.fromtimestamp(NOON + DAY, UTC)
    assert [(total.exchanges, total.calls) for total in _totals(store, by, since)] == [(2, 2)]


def test_totals_by_tool_count_calls_and_their_failures(store: Store) -> None:
    _told(store, *whole("a"), call_ended("a", status="timeout"), call_ended("a"))
    _told(store, call_ended("a", injected=False, server=None, tool=None, name="shell", status="relayed"))
    assert _totals(store, "tool") == [
        Total("time/now", exchanges=1, errors=1, calls=3, duration_p50=12, duration_p95=12),
        Total("shell", exchanges=1, errors=0, calls=1),
    ]


def test_nothing_recorded_has_no_totals(store: Store) -> None:
    assert [_totals(store, by) for by in BY] == [[]] * len(BY)


def test_a_story_is_whole(store: Store) -> None:
    _told(store, *whole("a"), *whole("b"))
    story = _exchange(store, "a")
    assert story.exchange["status"] == "completed"
    assert story.exchange["started_at"] == datetime.fromtimestamp(NOON, UTC)
    assert story.prompt == PROMPT
    assert [each["round"] for each in story.rounds] == [1, 2]
    assert [each["text"] for each in story.thoughts] == [THOUGHT, THOUGHT]
    assert [each["call_id"] for each in story.calls] == ["call_1"]
    assert story.plain()["token_usages"] == story.rounds


def test_an_exchange_is_found_by_how_its_id_begins(store: Store) -> None:
    _told(store, started("01aa-1"), started("01aa-2"), started("02bb"))
    assert _exchange(store, "02").exchange["id"] == "02bb"
    assert _exchange(store, "01AA-2").exchange["id"] == "01aa-2"
    with pytest.raises(RecordsError, match="more than one"):
        _exchange(store, "01aa")
    for unknown in ("03", "%", "0_"):
        with pytest.raises(RecordsError, match="no exchange"):
            _exchange(store, unknown)


def test_the_last_exchange_is_the_one_that_started_last(store: Store) -> None:
    with pytest.raises(RecordsError, match="no exchange yet"):
        _exchange(store, "last")
    _told(store, started("b", started_at=NOON), started("a", started_at=NOON + 1), ended("c"))
    assert _exchange(store, "last").exchange["id"] == "a"


def _run(length: int) -> Iterator[Fact]:
    """Exchanges of an agent, each but the first answers the call of the one before it."""
    for number in range(length):
        name, answers = f"run-{number:03}", f"call-{number - 1}" if number else None
        yield started(name, started_at=NOON + number, answers_call_id=answers)
        yield call_ended(name, call_id=f"call-{number}", injected=False, server=None, tool=None)
        yield ended(name)


@pytest.mark.parametrize(("at", "first", "last"), [(0, 0, 99), (100, 50, 149), (239, 140, 239)])
def test_of_a_long_run_the_nearest_hundred_are_told(store: Store, at: int, first: int, last: int) -> None:
    _told(store, *_run(240))
    asked: list[str] = []
    sa.event.listen(store.engine, "before_cursor_execute", lambda *said: asked.append(said[2]))
    story = _exchange(store, f"run-{at:03}")
    assert [each["id"] for each in story.run] == [f"run-{number:03}" for number in range(first, last + 1)]
    assert len(asked) < 450, "the rest is not read"


def test_what_no_database_can_hold_is_in_none(place: Place) -> None:
    """Both would take it for an error of their own."""
    name, place_of = "a\0b\udcff", listing.write_cursor({"started_at": datetime.now(UTC), "id": "a\0"})
    with opened(place.config().url) as store:
        _told(store, started("a", user=name), ended("a"))
        with store.reading() as connection:
            for wanted in (Filter(user=name), Filter(user=name, model="gpt-5")):
                assert [row["id"] for row in listing.page(connection, wanted).exchanges] == ["a"]
                assert [total.exchanges for total in totals(connection, "model", wanted)] == [1]
            for wanted in (Filter(tool=name), Filter(server=name), Filter(session=name)):
                assert listing.page(connection, wanted).exchanges == []
            with pytest.raises(RecordsError, match="no exchange"):
                queries.exchange(connection, name)
            with pytest.raises(RecordsError, match="no cursor"):
                listing.page(connection, Filter(), place_of)
            assert count(connection, Whom.named("user", name))["exchanges"] == 1


def test_a_question_sees_one_state_of_the_records(place: Place) -> None:
    with opened(place.config().url) as store:
        _told(store, *whole("a"))
        with store.reading() as connection:
            before = totals(connection, "model")
            _told(store, *whole("b"))
            assert totals(connection, "model") == before
            assert [row["id"] for row in listing.page(connection, Filter()).exchanges] == ["a"]
        assert [total.exchanges for total in _totals(store, "model")] == [2]
