"""The database: migrated once whoever comes first, written in groups that may come again."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from aibridge.config import DatabaseUrl, Records
from aibridge.facts import Fact
from aibridge.records import RecordsError, migrations
from aibridge.records.entries import Encoder
from aibridge.records.failures import DatabaseFailing
from aibridge.records.folding import fold
from aibridge.records.store import Store
from aibridge.records.tables import metadata
from tests.records.telling import (
    PROMPT,
    RESULT,
    ROOT,
    child,
    child_command,
    dump,
    ended,
    records_in,
    round_ended,
    select,
    started,
    whole,
)
from tests.support.stores import opened


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with opened(records_in(tmp_path).url) as store:
        yield store


def _fold(store: Store, facts: list[Fact]) -> int:
    encode = Encoder(Records(results=True))
    return fold(store, [encode(fact) for fact in facts], "worker-1")


def test_the_migrations_make_the_tables_of_the_metadata(store: Store) -> None:
    with store.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_the_newest_migration_is_the_one_that_the_code_expects() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    assert ScriptDirectory.from_config(config).get_current_head() == migrations.HEAD


def test_an_open_database_does_not_load_alembic_again(tmp_path: Path, store: Store) -> None:
    code = "open_records(config).close(); print('alembic' in sys.modules)"
    assert child(code, tmp_path).stdout == "False\n"


def test_the_recorder_is_imported_without_the_database() -> None:
    code = "import sys, aibridge.records; print('sqlalchemy' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"


def test_processes_that_start_at_once_all_open_the_database(tmp_path: Path) -> None:
    code = """
with recording(config) as recorder:
    for fact in whole():
        recorder.tell(fact)
    print(recorder.caller_secret().hex())
"""
    command = child_command(code, tmp_path)
    children = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    told = [each.communicate(timeout=60) for each in children]
    assert [each.returncode for each in children] == [0] * 4, told
    assert len({out.splitlines()[-1] for out, _ in told}) == 1  # the log may stand before
    assert select(tmp_path, "SELECT count(*), min(status) FROM exchanges") == [(4, "completed")]


def test_only_its_user_can_read_the_database(tmp_path: Path, store: Store) -> None:
    _fold(store, whole())
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob("aibridge.db*")}
    assert set(modes) >= {"aibridge.db", "aibridge.db-wal"}
    assert set(modes.values()) == {0o600}


def test_every_fact_becomes_its_row(tmp_path: Path, store: Store) -> None:
    assert _fold(store, whole("exchange-1")) == 0
    exchange = select(tmp_path, "SELECT status, worker, started_at, user, rounds, metadata FROM exchanges")
    assert exchange == [
        ("completed", "worker-1", "2026-01-01 12:00:00.000000", "ada", 2, '{"team": "search"}')
    ]
    tokens = "SELECT round, input, cache_read, output, cost_micros, price_source FROM token_usages"
    assert select(tmp_path, tokens) == [
        (1, 100, 20, 30, None, "unknown"),
        (2, 100, 20, 30, None, "unknown"),
    ]
    call = select(tmp_path, "SELECT exchange_id, server, tool, status, result_chars, result FROM tool_calls")
    assert call == [("exchange-1", "time", "now", "ok", len(RESULT), RESULT)]
    assert select(tmp_path, "SELECT text FROM prompts") == [(PROMPT,)]
    assert select(tmp_path, "SELECT count(*) FROM thoughts") == [(2,)]


def test_entries_that_come_twice_change_nothing(tmp_path: Path, store: Store) -> None:
    encode = Encoder(Records())
    payloads = [encode(fact) for name in ("a", "b", "c") for fact in whole(name)]
    fold(store, payloads, "worker-1")
    once = dump(tmp_path)
    fold(store, payloads, "worker-1")
    for payload in payloads:
        fold(store, [payload], "worker-1")
    assert dump(tmp_path) == once


def test_the_facts_of_an_exchange_may_come_in_any_order(tmp_path: Path, store: Store) -> None:
    encode = Encoder(Records())
    payloads = [encode(fact) for fact in whole("a")]
    fold(store, payloads, "worker-1")
    in_order = dump(tmp_path)
    with closing(sqlite3.connect(tmp_path / "aibridge.db")) as database, database:
        for table in ("exchanges", "token_usages", "tool_calls", "prompts", "thoughts"):
            database.execute(f"DELETE FROM {table}")
    for payload in reversed(payloads):
        fold(store, [payload], "worker-1")
    assert dump(tmp_path) == in_order


def test_an_ending_wins_over_the_mark_of_an_interruption(tmp_path: Path, store: Store) -> None:
    _fold(store, [started("a"), round_ended("a")])
    assert store.interrupt("worker-2") == 0
    assert store.interrupt("worker-1") == 1
    assert select(tmp_path, "SELECT status, error_code FROM exchanges") == [("interrupted", "interrupted")]
    _fold(store, [started("a"), ended("a")])
    assert select(tmp_path, "SELECT status, error_code FROM exchanges") == [("completed", None)]


def test_text_that_databases_refuse_is_replaced(tmp_path: Path, store: Store) -> None:
    odd = started("a", prompt="nul \0 half \ud83d", user="\udc00", metadata={"k\0": ["\ud800", 1, None]})
    assert _fold(store, [odd]) == 0
    assert select(tmp_path, "SELECT text FROM prompts") == [("nul \ufffd half ?",)]
    assert select(tmp_path, "SELECT user FROM exchanges") == [("?",)]


def test_token_figures_are_never_negative_nor_beyond_the_column(tmp_path: Path, store: Store) -> None:
    fact = round_ended("a")
    usage = type(fact.usage)(input=-5, output=10**30)
    assert _fold(store, [round_ended("a", usage=usage)]) == 0
    assert select(tmp_path, "SELECT input, output FROM token_usages") == [(0, 2**63 - 1)]


def test_an_entry_that_cannot_be_read_does_not_hold_up_the_others(tmp_path: Path, store: Store) -> None:
    encode = Encoder(Records())
    good = [encode(fact) for fact in whole("a")]
    bad = [b"no JSON", b"[]", b'{"fact":"unheard of"}', b'{"fact":"started"}']
    assert fold(store, [*bad, *good], "worker-1") == len(bad)
    assert select(tmp_path, "SELECT status FROM exchanges") == [("completed",)]


def test_a_row_that_the_database_refuses_does_not_hold_up_the_others(tmp_path: Path, store: Store) -> None:
    encode = Encoder(Records())
    nameless = encode(whole("a")[2]).replace(b'"call_id":"call_1"', b'"call_id":null')
    assert fold(store, [encode(started("a")), nameless, encode(ended("a"))], "worker-1") == 1
    assert select(tmp_path, "SELECT status FROM exchanges") == [("completed",)]
    assert select(tmp_path, "SELECT * FROM tool_calls") == []


def test_a_database_that_was_deleted_is_made_again(tmp_path: Path, store: Store) -> None:
    _fold(store, whole("a"))
    (tmp_path / "aibridge.db").unlink()
    _fold(store, whole("b"))
    assert select(tmp_path, "SELECT id FROM exchanges") == [("b",)]


def test_a_table_that_is_missing_is_no_reason_to_leave_entries_out(tmp_path: Path, store: Store) -> None:
    with closing(sqlite3.connect(tmp_path / "aibridge.db")) as database:
        database.execute("DROP TABLE exchanges")
    with pytest.raises(DatabaseFailing, match="no such table"):
        _fold(store, whole())


def test_a_database_of_a_newer_release_is_refused(tmp_path: Path, store: Store) -> None:
    with closing(sqlite3.connect(tmp_path / "aibridge.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    newer = Store(records_in(tmp_path).url)
    with pytest.raises(RecordsError, match="newer aibridge"):
        newer.open()
    newer.close()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "aibridge.db").write_bytes(b"these are not the tables that you look for" * 100)
    store = Store(records_in(tmp_path).url)
    with pytest.raises(RecordsError, match="file is not a database"):
        store.open()
    store.close()


@pytest.mark.parametrize("url", ["sqlite:///:memory:", "sqlite:///", "nonsense"])
def test_a_url_that_names_no_file_is_refused(url: str) -> None:
    with pytest.raises(RecordsError, match=r"records\.url"):
        Store(DatabaseUrl(url))
