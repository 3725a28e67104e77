"""The recorder: what it was told is kept, whatever happens to the database or to this process."""

import asyncio
import json
import resource
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest

from aibridge.facts import ExchangeStarted
from aibridge.nouns import Filter, Usage
from aibridge.records import RecordsError, keeper, open_records
from aibridge.records.failures import DatabaseFailing
from aibridge.records.journal import SEGMENT_SIZE
from aibridge.records.pricing import NO_PRICES
from aibridge.records.storable import DEEPER, DEEPEST
from tests.records.telling import (
    ARGUMENT,
    PROMPT,
    RESULT,
    ROOT,
    THOUGHT,
    Place,
    child,
    child_command,
    dump,
    ended,
    recording,
    records_in,
    round_ended,
    select,
    started,
    whole,
)
from tests.support.waiting import eventually


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Another process writes to the database and takes its time."""
    with closing(sqlite3.connect(folder / "aibridge.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


class _Unspeakable:
    """What cannot even be a text."""

    def __str__(self) -> str:
        raise TypeError("no words for it")


def _bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_what_was_told_is_in_the_database_soon(tmp_path: Path) -> None:
    with recording(records_in(tmp_path)) as recorder:
        for fact in whole("a"):
            recorder.tell(fact)
        eventually(lambda: select(tmp_path, "SELECT status FROM exchanges") == [("completed",)], seconds=5)
        assert recorder.health() == {"state": "ok", "pending": 0, "error": None}


def test_a_clean_stop_folds_everything_and_leaves_no_journal(tmp_path: Path) -> None:
    with recording(records_in(tmp_path)) as recorder:
        for _ in range(500):
            for fact in whole():
                recorder.tell(fact)
    assert select(tmp_path, "SELECT count(*) FROM exchanges WHERE status = 'completed'") == [(500,)]
    assert list((tmp_path / "journal").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["aibridge.db", "journal"]


def test_an_exchange_without_an_ending_is_interrupted_by_a_clean_stop(tmp_path: Path) -> None:
    with recording(records_in(tmp_path)) as recorder:
        recorder.tell(started("a"))
    assert select(tmp_path, "SELECT status FROM exchanges") == [("interrupted",)]


def test_closing_twice_is_closing_once(tmp_path: Path) -> None:
    with recording(records_in(tmp_path)) as recorder:
        recorder.close()


def test_threads_may_tell_at_once(tmp_path: Path) -> None:
    with recording(records_in(tmp_path)) as recorder:

        def tell() -> None:
            for _ in range(100):
                for fact in whole():
                    recorder.tell(fact)

        threads = [threading.Thread(target=tell) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert recorder.flush()
        assert select(tmp_path, "SELECT count(*) FROM exchanges WHERE status = 'completed'") == [(400,)]
        assert recorder.lost() == {}


def test_a_locked_database_delays_records_and_loses_none(tmp_path: Path) -> None:
    with recording(records_in(tmp_path)) as recorder:
        with _locked(tmp_path):
            for fact in whole("a"):
                recorder.tell(fact)
            eventually(lambda: recorder.health()["state"] == "degraded", what="the failure")
            for fact in whole("b"):
                recorder.tell(fact)
            health = recorder.health()
            assert (health["pending"], health["error"]) == (10, "database is locked")
            assert not recorder.flush(within=0)
        assert recorder.flush()
        assert recorder.health() == {"state": "ok", "pending": 0, "error": None}
    assert select(tmp_path, "SELECT id, status FROM exchanges ORDER BY id") == [
        ("a", "completed"),
        ("b", "completed"),
    ]


def test_a_database_that_is_gone_delays_records_and_loses_none(tmp_path: Path) -> None:
    with recording(records_in(tmp_path)) as recorder:
        recorder.tell(started("a"))
        assert recorder.flush()
        with _gone(tmp_path):
            recorder.tell(ended("a"))
            eventually(lambda: recorder.health()["state"] == "degraded", what="the failure")
        assert recorder.flush()
    assert select(tmp_path, "SELECT status FROM exchanges") == [("completed",)]


@contextmanager
def _gone(folder: Path) -> Iterator[None]:
    """Something else is where the database was."""
    (folder / "aibridge.db").rename(folder / "away.db")
    (folder / "aibridge.db").mkdir()
    yield
    (folder / "aibridge.db").rmdir()
    (folder / "away.db").rename(folder / "aibridge.db")


@pytest.mark.parametrize("failing", [_locked, _gone])
def test_a_database_that_is_back_is_noticed_also_when_nobody_asks_it(
    failing: Callable[[Path], AbstractContextManager[None]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "LOOKS_EVERY", 0.05)
    with recording(records_in(tmp_path)) as recorder:
        turns = recorder.hidden_turns()
        with failing(tmp_path):
            with pytest.raises(DatabaseFailing):
                asyncio.run(turns.put(b"1" * 32, b"content", newest_wins=True, caller="c", user=None))
            assert recorder.health()["state"] == "degraded"
        eventually(lambda: recorder.health()["state"] == "ok", what="the recovery")
        asyncio.run(turns.put(b"1" * 32, b"content", newest_wins=True, caller="c", user=None))


def test_a_stop_while_the_database_fails_leaves_the_journal_to_the_next_start(tmp_path: Path) -> None:
    config = records_in(tmp_path)
    recorder = open_records(config)
    with _locked(tmp_path):
        for fact in whole("a"):
            recorder.tell(fact)
        recorder.close(within=2)
    assert select(tmp_path, "SELECT * FROM exchanges") == []
    with recording(config):
        assert select(tmp_path, "SELECT id, status FROM exchanges") == [("a", "completed")]


def test_a_full_disk_delays_records_and_what_cannot_be_written_ever_is_counted(tmp_path: Path) -> None:
    with recording(records_in(tmp_path)) as recorder:
        with _no_room_for_files():
            recorder.tell(started("a", prompt="x" * SEGMENT_SIZE))
            recorder.tell(started("b"))
        health = recorder.health()
        assert health["state"] == "degraded"
        assert "journal" in health["error"]
        recorder.tell(started("c", metadata={"unspeakable": _Unspeakable()}))
        assert recorder.lost() == {"TypeError": 1}
        assert recorder.health()["lost"] == 1
        recorder.tell(started("d"))
        eventually(lambda: recorder.refuses() is None, what="the room")
        assert recorder.health()["state"] == "ok"
        assert recorder.flush()
        assert select(tmp_path, "SELECT id FROM exchanges ORDER BY id") == [("a",), ("b",), ("d",)]


def test_telling_a_closed_recorder_does_not_raise(tmp_path: Path) -> None:
    with recording(records_in(tmp_path)) as recorder:
        recorder.close()
        recorder.tell(started("late"))
        assert recorder.lost() == {"ValueError": 1}


def test_a_value_that_json_does_not_know_is_kept_as_text(tmp_path: Path) -> None:
    with recording(records_in(tmp_path)) as recorder:
        recorder.tell(started("a", metadata={"path": tmp_path, (1, 2): "pair"}))
        assert recorder.flush()
        [(kept,)] = select(tmp_path, "SELECT metadata FROM exchanges")
        assert kept == f'{{"path": "{tmp_path}", "(1, 2)": "pair"}}'


def _nested(levels: int) -> Any:
    value: Any = "the end"
    for _ in range(levels):
        value = {"a": [value]}
    return value


def _levels(value: Any) -> int:
    """How deep it is, along the first items."""
    levels = 0
    while isinstance(value, dict | list):
        value, levels = next(iter(value.values() if isinstance(value, dict) else value)), levels + 1
    return levels


@pytest.mark.parametrize("levels", [1, 30, 60, 200, 400, 5000])
def test_what_is_nested_too_deep_is_left_out_and_the_rest_recorded(place: Place, levels: int) -> None:
    deep = _nested(levels)
    with recording(place.config()) as recorder:
        facts = (
            started("a", metadata={"team": "search", "deep": deep, "key": {"api_key": deep}}),
            round_ended("a", usage=Usage(input=7, other={"tier": "flex", "deep": deep})),
            ended("a"),
        )
        for fact in facts:
            recorder.tell(fact)
        assert recorder.flush()
        assert recorder.health() == {"state": "ok", "pending": 0, "error": None}
    [(began, metadata)] = place.select("SELECT started_at IS NOT NULL, CAST(metadata AS TEXT) FROM exchanges")
    [(other,)] = place.select("SELECT CAST(other AS TEXT) FROM token_usages")
    assert began
    for text, beside in ((metadata, ("team", "search")), (other, ("tier", "flex"))):
        kept = json.loads(text)
        assert kept[beside[0]] == beside[1]
        assert _levels({"": kept["deep"]}) == min(1 + 2 * levels, DEEPEST)
        assert (kept["deep"] == deep) if levels <= 30 else (DEEPER in text.encode().decode("unicode_escape"))


def test_a_circle_is_cut(tmp_path: Path) -> None:
    circular: dict[str, object] = {}
    circular["self"] = circular
    with recording(records_in(tmp_path)) as recorder:
        recorder.tell(started("a", metadata=circular))
        assert recorder.flush()
        assert recorder.lost() == {}
    [(kept,)] = select(tmp_path, "SELECT metadata FROM exchanges")
    assert _levels(json.loads(kept)) == DEEPEST


def test_numbers_beyond_all_measure_are_no_reason_to_lose_an_exchange(place: Place) -> None:
    numbers = {"nan": nan, "infinite": -inf, "large": 10**4000, "small": -(10**30), "float": 1e308}
    with recording(place.config()) as recorder:
        recorder.tell(started("a", metadata={**numbers, "within": [numbers]}))
        recorder.tell(round_ended("a", usage=Usage(other=numbers)))
        assert recorder.flush()
        assert recorder.lost() == {}
        [row] = recorder.questions(NO_PRICES).page(Filter(), None, 5).exchanges
    kept = {**numbers, "nan": None, "infinite": None}
    assert row["metadata"] == {**kept, "within": [kept]}
    assert place.select("SELECT count(*) FROM token_usages WHERE other IS NOT NULL") == [(1,)]


TEXTS = {"prompts": [PROMPT, THOUGHT], "arguments": [ARGUMENT], "results": [RESULT]}


@pytest.mark.parametrize("kept", [set(), {"prompts"}, {"arguments"}, {"results"}])
def test_texts_that_are_not_kept_reach_neither_journal_nor_database(tmp_path: Path, kept: set[str]) -> None:
    with recording(records_in(tmp_path, **{name: name in kept for name in TEXTS})) as recorder:
        for fact in whole("a"):
            recorder.tell(fact)
        assert recorder.flush()
        journal, files = _bytes(tmp_path / "journal"), _bytes(tmp_path)
        assert b"gpt-5-2026" in journal
        for name, texts in TEXTS.items():
            for text in texts:
                assert (text.encode() in journal) == (name in kept)
                assert (text in "".join(dump(tmp_path))) == (name in kept)
                assert (text.encode() in files) == (name in kept)
        assert select(tmp_path, "SELECT result_chars FROM tool_calls") == [(len(RESULT),)]


def test_a_journal_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("a file")
    with pytest.raises(RecordsError, match=r"records\.journal"):
        open_records(records_in(tmp_path))


def test_the_secret_is_made_once(tmp_path: Path) -> None:
    with recording(records_in(tmp_path)) as first, recording(records_in(tmp_path)) as second:
        assert first.caller_secret() == second.caller_secret()
        assert len(first.caller_secret()) == 32


def test_a_killed_process_loses_nothing_that_it_told(tmp_path: Path) -> None:
    killed = child(
        """
recorder = open_records(config)
for fact in whole("done"):
    recorder.tell(fact)
recorder.tell(started("running"))
recorder.tell(round_ended("running"))
os.kill(os.getpid(), signal.SIGKILL)
""",
        tmp_path,
    )
    assert killed.returncode == -9, killed.stderr
    with recording(records_in(tmp_path)):
        found = select(tmp_path, "SELECT id, status FROM exchanges ORDER BY id")
        assert found == [("done", "completed"), ("running", "interrupted")]
        assert select(tmp_path, "SELECT count(*) FROM token_usages") == [(3,)]
        assert len(list((tmp_path / "journal").iterdir())) == 2  # its own marker and segment
    assert list((tmp_path / "journal").iterdir()) == []


def test_what_a_client_saw_complete_is_recorded_whenever_the_kill_comes(tmp_path: Path) -> None:
    code = """
recorder = open_records(config)
for number in range(10**9):
    for fact in whole(f"exchange-{number}"):
        recorder.tell(fact)
    print(f"exchange-{number}", flush=True)
"""
    with subprocess.Popen(
        child_command(code, tmp_path), cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as serving:
        assert serving.stdout is not None
        seen = {next(serving.stdout).strip() for _ in range(5000)}
        serving.kill()
    with recording(records_in(tmp_path)):
        query = "SELECT id FROM exchanges WHERE status = 'completed'"
        assert seen <= {name for (name,) in select(tmp_path, query)}


def test_the_time_of_an_exchange_is_kept_to_the_microsecond(tmp_path: Path) -> None:
    with recording(records_in(tmp_path)) as recorder:
        fact = started("a", started_at=1_767_268_800.123456)
        assert isinstance(fact, ExchangeStarted)
        recorder.tell(fact)
        assert recorder.flush()
        assert select(tmp_path, "SELECT started_at FROM exchanges") == [("2026-01-01 12:00:00.123456",)]


@contextmanager
def _no_room_for_files() -> Iterator[None]:
    """No file can grow, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
