"""Every figure against the truth, which is counted in Python; from the rows and from summaries."""

import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from aibridge.facts import Fact
from aibridge.ids import new_id
from aibridge.nouns import Filter, Total
from aibridge.records import listing
from aibridge.records.counting import from_rows
from aibridge.records.entries import Encoder
from aibridge.records.figures import TOKENS, joined, packed, percentiles
from aibridge.records.folding import fold
from aibridge.records.narrowing import BY
from aibridge.records.pricing import Prices
from aibridge.records.questions import Questions
from aibridge.records.store import Store
from aibridge.records.summaries import Period, outdate_of, periods, summarise_one
from aibridge.records.tables import exchanges, summaries
from aibridge.records.totals import totals
from bench.records import Made, make, write
from tests.records.telling import call_ended, ended, in_postgres, in_sqlite, records_in, round_ended, started
from tests.support.stores import opened

COUNT = 20_000 if os.environ.get("AIBRIDGE_SOAK") else 800
START = datetime(2026, 3, 1, 7, 30, tzinfo=UTC)
END = START + timedelta(days=6, hours=5)
NOW = END + timedelta(minutes=10)
OF = {"key": "key_id", "session": "session_id"}
FILTERS = (
    Filter(),
    Filter(since=START + timedelta(days=1, hours=3), until=END - timedelta(days=1, hours=7)),
    Filter(since=datetime(2026, 3, 2, tzinfo=UTC), until=datetime(2026, 3, 5, tzinfo=UTC)),
    Filter(model="gpt-5"),
    Filter(user="user-7", since=START + timedelta(days=2)),
    Filter(client="codex", upstream="openai"),
    Filter(session="session-3"),
    Filter(status="error"),
    Filter(status="cancelled", key="key-3"),
    Filter(tool="git/diff"),
    Filter(tool="shell"),
    Filter(server="git", model="gpt-5-mini"),
    Filter(caller="nobody"),
    Filter(until=START),
)


@pytest.fixture(scope="module")
def made() -> Made:
    whole = Made()
    for part in make(COUNT, START, END, seed=4):
        whole.exchanges += part.exchanges
        whole.rounds += part.rounds
        whole.calls += part.calls
    return whole


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def store(
    request: pytest.FixtureRequest, made: Made, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    """The same exchanges in either database."""
    folder = tmp_path_factory.mktemp("totals")
    if request.param == "sqlite":
        place = in_sqlite(folder)
    else:
        place = in_postgres(folder, request.getfixturevalue("postgres").database())
    with opened(place.config().url) as store:
        write(store, made)
        yield store


@pytest.fixture(scope="module")
def summarised(store: Store) -> Store:
    """The same, its past days summarised."""
    while summarise_one(store, NOW):
        pass
    with store.reading() as connection:
        days = connection.scalars(sa.select(summaries.c.day).distinct())
        assert len(list(days)) == 6
    return store


def _tool(call: dict[str, Any]) -> str:
    return f"{call['server']}/{call['tool']}" if call["server"] else call["name"]


def _meant(made: Made, wanted: Filter) -> list[dict[str, Any]]:
    """The exchanges that are `wanted`."""
    called = defaultdict(list)
    for call in made.calls:
        called[call["exchange_id"]].append(call)

    def fits(row: dict[str, Any]) -> bool:
        if (wanted.since and row["started_at"] < wanted.since) or (
            wanted.until and row["started_at"] >= wanted.until
        ):
            return False
        for name in ("model", "user", "key", "client", "upstream", "caller", "session"):
            if getattr(wanted, name) not in (None, row[OF.get(name, name)]):
                return False
        status = {"error": ("failed", "interrupted")}.get(wanted.status or "", (wanted.status,))
        if wanted.status and row["status"] not in status:
            return False
        return not (wanted.tool or wanted.server) or any(
            _call_fits(call, wanted) for call in called[row["id"]]
        )

    return [row for row in made.exchanges if fits(row)]


def _call_fits(call: dict[str, Any], wanted: Filter) -> bool:
    return wanted.tool in (None, _tool(call)) and wanted.server in (None, call["server"])


def _truth(made: Made, by: str, wanted: Filter) -> dict[str | None, Total]:
    meant = {row["id"]: row for row in _meant(made, wanted)}
    rounds, calls = defaultdict(list), defaultdict(list)
    for each in made.rounds:
        rounds[each["exchange_id"]].append(each)
    for each in made.calls:
        calls[each["exchange_id"]].append(each)
    if by in ("tool", "server"):
        return _truth_of_calls(
            [each for name in meant for each in calls[name] if _call_fits(each, wanted)], by
        )
    groups = defaultdict(list)
    for row in meant.values():
        day = str(row["started_at"].date())
        groups[day if by == "day" else row[OF.get(by, by)]].append(row)
    return {
        group: _truth_of(group, rows, [each for row in rows for each in rounds[row["id"]]], calls)
        for group, rows in groups.items()
    }


def _truth_of(group: str | None, rows: list[Any], rounds: list[Any], calls: dict[str, list[Any]]) -> Total:
    costs = [each["cost_micros"] for each in rounds if each["cost_micros"] is not None]
    first = [row["first_byte_ms"] for row in rows if row["first_byte_ms"] is not None]
    own = [round(row["overhead_ms"] * 1000) for row in rows]
    return Total(
        group,
        exchanges=len(rows),
        errors=sum(row["status"] in ("failed", "interrupted") for row in rows),
        calls=sum(len(calls[row["id"]]) for row in rows),
        **{name: sum(each[name] for each in rounds) for name in TOKENS},
        cost_micros=sum(costs) if costs else None,
        unpriced=sum(each["cost_micros"] is None and each["source"] != "missing" for each in rounds),
        first_byte_p50=_rank(first, 50),
        first_byte_p95=_rank(first, 95),
        overhead_p50=_rank(own, 50, 1000),
        overhead_p95=_rank(own, 95, 1000),
    )


def _truth_of_calls(calls: list[Any], by: str) -> dict[str | None, Total]:
    groups = defaultdict(list)
    for call in calls:
        groups[_tool(call) if by == "tool" else call["server"]].append(call)
    told = {}
    for group, each in groups.items():
        took = [call["duration_ms"] for call in each if call["injected"]]
        told[group] = Total(
            group,
            exchanges=len({call["exchange_id"] for call in each}),
            errors=sum(call["status"] not in ("ok", "relayed") for call in each),
            calls=len(each),
            duration_p50=_rank(took, 50),
            duration_p95=_rank(took, 95),
        )
    return told


def _rank(values: list[int], percent: int, divisor: int = 1) -> Any:
    if not values:
        return None
    found = sorted(values)[math.ceil(len(values) * percent / 100) - 1]
    return found if divisor == 1 else found / divisor


def _asked(store: Store, by: str, wanted: Filter) -> dict[str | None, Total]:
    with store.reading() as connection:
        found = totals(connection, by, wanted)
    assert len({total.group for total in found}) == len(found)
    return {total.group: total for total in found}


@pytest.mark.parametrize("by", BY)
def test_every_figure_is_true_from_the_rows(store: Store, made: Made, by: str) -> None:
    for wanted in FILTERS:
        assert _asked(store, by, wanted) == _truth(made, by, wanted), wanted


@pytest.mark.parametrize("by", BY)
def test_every_figure_is_true_with_summaries(summarised: Store, made: Made, by: str) -> None:
    for wanted in FILTERS:
        assert _asked(summarised, by, wanted) == _truth(made, by, wanted), wanted


def _check_pages(store: Store, made: Made) -> None:
    for wanted in (Filter(), Filter(status="error"), Filter(tool="git/log"), *FILTERS[-4:]):
        seen: list[Any] = []
        cursor: str | None = None
        while True:
            with store.reading() as connection:
                page = listing.page(connection, wanted, cursor, 137)
            seen += page.exchanges
            if (cursor := page.next) is None:
                break
        assert [row["id"] for row in seen] == [row["id"] for row in reversed(_meant(made, wanted))]


def test_pages_go_through_all_that_is_meant_once(store: Store, made: Made) -> None:
    _check_pages(store, made)


def test_pages_are_the_same_with_summaries(summarised: Store, made: Made) -> None:
    _check_pages(summarised, made)


def test_an_export_has_every_exchange_with_its_sums(store: Store, made: Made) -> None:
    wanted = Filter(since=START + timedelta(hours=5))
    rows = list(listing.export(store, wanted))
    assert [row["id"] for row in rows] == [row["id"] for row in _meant(made, wanted)]
    inputs: Counter[str] = Counter()
    for each in made.rounds:
        inputs[each["exchange_id"]] += each["input"]
    assert [row["input"] for row in rows] == [inputs[row["id"]] for row in rows]
    assert set(rows[0]) == set(listing.EXPORTED)


def test_days_without_what_is_meant_are_passed_over(summarised: Store, made: Made) -> None:
    day = datetime(2026, 3, 3, tzinfo=UTC)
    one = next(row for row in made.exchanges if row["started_at"] > day + timedelta(hours=9))
    with summarised.writing() as connection:
        mine = exchanges.c.id == one["id"]
        connection.execute(sa.update(exchanges).where(mine).values(client="rare"))
        outdate_of(connection, mine)
    assert summarise_one(summarised, NOW)
    first, last = (datetime(2026, 3, number, tzinfo=UTC) for number in (1, 7))
    expected: list[Period] = [(None, first), (day, day + timedelta(days=1)), (last, None)]
    with summarised.reading() as connection:
        assert periods(connection, Filter(client="rare")) == expected
        assert periods(connection, Filter(client="nobody", user="ada")) == [(None, first), (last, None)]
        assert periods(connection, Filter(user="nobody")) == [(None, None)]
        for wanted in (Filter(client="rare"), Filter(client="rare", status=one["status"])):
            assert [row["id"] for row in listing.page(connection, wanted).exchanges] == [one["id"]]
            assert [row["id"] for row in listing.export(summarised, wanted)] == [one["id"]]
        assert listing.page(connection, Filter(client="rare", tool="git/nothing")).exchanges == []
    with summarised.writing() as connection:
        connection.execute(sa.update(exchanges).where(mine).values(client=one["client"]))
        outdate_of(connection, mine)
    assert summarise_one(summarised, NOW)


def test_percentiles_are_the_nearest_rank() -> None:
    for values in ([1, 2, 9, 9], [7], [300, 5, 70_000], range(1, 101)):
        parts = [packed(values[:1]), packed(values[1:])] if len(values) > 1 else [packed(values)]
        for given in (parts, [packed(values)]):
            assert percentiles(given) == (_rank(list(values), 50), _rank(list(values), 95))
    assert percentiles([]) == (None, None)


def test_packed_times_are_the_same_in_order() -> None:
    assert packed([1]) == b"\x01\0\0\0"
    assert joined([packed([5, 1]), packed([1 << 40, -3])]) == packed([0, 1, 5, (1 << 32) - 1])
    assert joined([packed([2, 1])]) == packed([1, 2])
    assert joined([]) == b""


def _a_day(folder: Path) -> tuple[Store, datetime]:
    """A store with one exchange of yesterday, which is summarised."""
    store = Store(records_in(folder).url)
    store.open()
    now = datetime.now(UTC).replace(hour=12)
    yesterday = now - timedelta(days=1)
    for made in make(1, yesterday, now, seed=1):
        made.exchanges[0]["status"] = "completed"
        write(store, made)
    assert summarise_one(store, now)
    assert _rows_of_summaries(store) > 0
    return store, now


def _rows_of_summaries(store: Store) -> int:
    with store.reading() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(summaries)) or 0


def test_what_is_told_late_outdates_the_summary_of_its_day(tmp_path: Path) -> None:
    store, now = _a_day(tmp_path)
    encode = Encoder(records_in(tmp_path))
    with store.reading() as connection:
        [old] = connection.scalars(sa.select(exchanges.c.id))
    fold(store, [encode(round_ended(old, 7)), encode(call_ended(old))], "worker")
    assert _rows_of_summaries(store) == 0
    assert summarise_one(store, now) and not summarise_one(store, now)
    again = new_id()
    then = (now - timedelta(days=1)).timestamp()
    fold(store, [encode(started(again, started_at=then)), encode(ended(again))], "worker")
    assert _rows_of_summaries(store) == 0
    with store.reading() as connection:
        assert sum(total.exchanges for total in totals(connection, "model")) == 2
    store.close()


def test_today_and_days_on_which_something_runs_are_not_summarised(tmp_path: Path) -> None:
    store, now = _a_day(tmp_path)
    encode = Encoder(records_in(tmp_path))
    two_days_ago = (now - timedelta(days=2)).timestamp()
    fold(store, [encode(started("a", started_at=two_days_ago)), encode(started("b"))], "worker")
    fold(store, [encode(started(new_id(), started_at=now.timestamp())), encode(ended("b"))], "worker")
    days = [str((now - timedelta(days=2)).date()), str(now.date())]
    while summarise_one(store, now):
        pass
    with store.reading() as connection:
        made = set(connection.scalars(sa.select(summaries.c.day)))
    assert made and not made & set(days)
    store.close()


def test_a_summary_that_was_outdated_while_it_was_made_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, now = _a_day(tmp_path)
    with store.writing() as connection:
        outdate_of(connection, sa.true())
    from aibridge.records import summaries as room

    counted = from_rows

    def while_another_writes(*arguments: Any) -> Any:
        found = counted(*arguments)
        monkeypatch.setattr(room, "from_rows", counted)
        other = Store(records_in(tmp_path).url)
        with other.writing() as connection:
            outdate_of(connection, sa.true())
        other.close()
        return found

    monkeypatch.setattr(room, "from_rows", while_another_writes)
    assert summarise_one(store, now)
    assert _rows_of_summaries(store) == 0
    assert summarise_one(store, now)
    assert _rows_of_summaries(store) > 0
    store.close()


def test_rounds_without_a_price_are_priced_again(tmp_path: Path) -> None:
    from aibridge.config import Price

    store = Store(records_in(tmp_path).url)
    store.open()
    encode = Encoder(records_in(tmp_path))
    facts: list[Fact] = [
        started("a", model="own"),
        round_ended("a", model="own"),
        round_ended("a", 2, model="strange"),
    ]
    fold(store, [encode(fact) for fact in (*facts, ended("a"))], "worker")
    asking = Questions(store, Prices({"own": Price(input=1, output=2)}, {}))
    assert asking.totals("model", Filter())[0].cost_micros is None
    assert asking.reprice(Filter(model="other"), "ada") == (0, 0)
    assert asking.reprice(Filter(), "ada") == (2, 0)  # the second by the name that was asked
    assert asking.reprice(Filter(), "ada") == (0, 0)
    assert asking.totals("model", Filter())[0].cost_micros == 2 * (125 + 60)
    store.close()
