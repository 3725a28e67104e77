"""What is kept in a file is read in the thread that serves: at once, and never what is not there any more."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from aibridge import tasks
from aibridge.records import asking, at_once
from aibridge.records.answer_ids import AnswerIds
from aibridge.records.asking import Asking
from aibridge.records.failures import DatabaseFailing
from aibridge.records.forgetting import Whom, forget
from aibridge.records.hidden_turns import HiddenTurns
from aibridge.records.store import Store
from tests.records.telling import ROOT, Place, in_sqlite
from tests.support.stores import opened

ONE, TWO = b"1" * 32, b"2" * 32
KEEPS = """
import asyncio, sys
from aibridge.config import DatabaseUrl
from aibridge.records.asking import Asking
from aibridge.records.hidden_turns import HiddenTurns
from aibridge.records.store import Store
store = Store(DatabaseUrl(sys.argv[1]))
store.open()
put = HiddenTurns(store, Asking()).put
for key in sys.stdin.buffer:
    asyncio.run(put(key.strip(), b"of another process", newest_wins=True, caller="c", user=None))
    print("kept", flush=True)
"""


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy this machine is, its disk is not taken for a slow one."""
    monkeypatch.setattr(at_once, "SLOW", 60.0)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Store]:
    """An open database in a file."""
    with opened(in_sqlite(tmp_path).config().url) as store:
        yield store


def _turns(store: Store) -> HiddenTurns:
    return HiddenTurns(store, Asking())


def _put(store: Store, key: bytes, content: bytes) -> None:
    put = _turns(store).put(key, content, newest_wins=True, caller="c", user="u")
    asyncio.run(put)


def _get(turns: HiddenTurns, *keys: bytes) -> Mapping[bytes, bytes]:
    return asyncio.run(turns.get(keys))


@contextmanager
def _threads_started() -> Iterator[list[str]]:
    """Names of the threads that were started for questions meanwhile, once the block has ended."""
    names: list[str] = []
    before = set(threading.enumerate())
    yield names
    started = (thread.name for thread in set(threading.enumerate()) - before)
    names += [name for name in started if name.startswith("aibridge-database")]


def test_a_file_is_read_without_a_thread_also_while_somebody_writes(file: Store, tmp_path: Path) -> None:
    _put(file, ONE, b"content")
    with closing(sqlite3.connect(tmp_path / "aibridge.db", isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        writer.execute("DELETE FROM hidden_turns")
        with _threads_started() as started:
            assert _get(_turns(file), ONE, TWO) == {ONE: b"content"}
            assert asyncio.run(AnswerIds(file, Asking()).get(["resp_1"])) == {}
        assert started == []
        writer.execute("COMMIT")
    assert _get(_turns(file), ONE) == {}


def test_what_another_process_keeps_is_found_at_once(file: Store, tmp_path: Path) -> None:
    turns = _turns(file)
    command = [sys.executable, "-c", KEEPS, in_sqlite(tmp_path).url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as other:
        assert other.stdin and other.stdout
        for number in range(50):
            key = b"%032d" % number
            assert _get(turns, key) == {}
            other.stdin.write(key + b"\n")
            other.stdin.flush()
            assert other.stdout.readline() == b"kept\n"
            assert _get(turns, key) == {key: b"of another process"}
        other.stdin.close()
    assert len(_get(turns, *(b"%032d" % number for number in range(50)))) == 50


def _kept(turns: HiddenTurns, key: bytes, content: bytes) -> None:
    asyncio.run(turns.put(key, content, newest_wins=False, caller="c", user="u"))


def test_what_is_kept_in_a_file_needs_no_thread_but_for_the_first(file: Store) -> None:
    turns = _turns(file)
    _kept(turns, ONE, b"looks for what is too old")
    with _threads_started() as started:
        for content in (b"content", b"content"):
            _kept(turns, TWO, content)
        assert _get(_turns(file), ONE, TWO) == {ONE: b"looks for what is too old", TWO: b"content"}
        _kept(turns, TWO, b"another")
        assert _get(_turns(file), TWO) == {}
    assert started == []


def test_while_somebody_writes_what_is_kept_waits_in_a_thread(file: Store, tmp_path: Path) -> None:
    turns = _turns(file)
    _kept(turns, ONE, b"first")

    async def keep() -> None:
        with closing(sqlite3.connect(tmp_path / "aibridge.db", isolation_level=None)) as writer:
            writer.execute("BEGIN IMMEDIATE")
            putting = tasks.start(turns.put(TWO, b"x", newest_wins=True, caller="c", user="u"), "put")
            await asyncio.sleep(0)
            assert not putting.done()
            assert file.database.glance("SELECT count(*) FROM hidden_turns", ()) == [(1,)]
            writer.execute("COMMIT")
            await putting

    asyncio.run(keep())
    assert _get(turns, ONE, TWO) == {ONE: b"first", TWO: b"x"}
    with _threads_started() as started:
        _kept(turns, b"3" * 32, b"again at once")
    assert started == []


def test_what_is_kept_goes_into_the_file_that_is_there(file: Store, tmp_path: Path) -> None:
    turns = _turns(file)
    for key in (ONE, TWO):
        _kept(turns, key, b"old")
    for path in tmp_path.glob("aibridge.db*"):
        path.unlink()
    _kept(turns, ONE, b"new")
    assert _get(turns, ONE, TWO) == {ONE: b"new"}


def test_what_is_forgotten_is_gone_at_once(store: Store, place: Place) -> None:
    turns = _turns(store)
    _put(store, ONE, b"content")
    assert _get(turns, ONE) == {ONE: b"content"}
    with opened(place.config().url) as other:
        forget(other, Whom.named("user", "u"))
    assert _get(turns, ONE) == {}


def test_any_number_of_keys_is_asked_for(store: Store) -> None:
    keys = [b"%032d" % number for number in range(1100)]
    for key in (keys[0], keys[511], keys[512], keys[1099]):
        _put(store, key, key)
    for number in (1, 2, 3, 511, 512, 513, 1100):
        found = _get(_turns(store), *keys[:number])
        assert found == {
            key: key for key in (keys[0], keys[511], keys[512], keys[1099]) if key in keys[:number]
        }


def test_a_server_is_asked_in_a_thread(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    place = Place(tmp_path, request.getfixturevalue("postgres").database())
    with opened(place.config().url) as store, _threads_started() as started:
        assert _get(_turns(store), ONE) == {}
    assert started


def test_a_file_that_was_taken_away_is_not_read_on(file: Store, tmp_path: Path) -> None:
    turns = _turns(file)
    _put(file, ONE, b"old")
    assert _get(turns, ONE) == {ONE: b"old"}
    for path in tmp_path.glob("aibridge.db*"):
        path.unlink()
    _put(file, TWO, b"new")  # makes the file again
    assert _get(turns, ONE, TWO) == {TWO: b"new"}


def test_a_file_that_was_replaced_is_read_from_then_on(file: Store, tmp_path: Path) -> None:
    turns = _turns(file)
    _put(file, ONE, b"old")
    assert _get(turns, ONE) == {ONE: b"old"}
    other = in_sqlite(tmp_path / "other")
    with opened(other.config().url) as store:
        _put(store, ONE, b"restored")
    (tmp_path / "other" / "aibridge.db").replace(tmp_path / "aibridge.db")
    for left in ("aibridge.db-wal", "aibridge.db-shm"):
        (tmp_path / left).unlink()
    assert _get(turns, ONE) == {ONE: b"restored"}


def test_a_file_that_is_locked_whole_is_no_answer_for_a_bounded_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "PATIENCE", 0.05)
    monkeypatch.setattr(asking, "REST", 0.0)
    monkeypatch.setattr(at_once, "REST", 0.0)
    with opened(in_sqlite(tmp_path).config().url) as store:
        _put(store, ONE, b"content")
        turns = _turns(store)
        store.engine.dispose()  # who locks a file whole has to be alone
        with closing(sqlite3.connect(tmp_path / "aibridge.db", isolation_level=None)) as alone:
            alone.execute("PRAGMA locking_mode=EXCLUSIVE")
            alone.execute("BEGIN EXCLUSIVE")
            with pytest.raises(DatabaseFailing, match=r"did not answer within 0\.05 s"):
                _get(turns, ONE)
        for _ in range(2):  # first as the rest of the database is asked, whose error it ends
            assert _get(turns, ONE) == {ONE: b"content"}


def test_a_slow_disk_is_left_to_the_threads_for_a_while(file: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    _put(file, ONE, b"content")
    monkeypatch.setattr(at_once, "SLOW", -1.0)
    turns = _turns(file)
    with _threads_started() as started:
        assert _get(turns, ONE) == {ONE: b"content"}
    assert started == []
    with _threads_started() as started:
        assert _get(turns, ONE) == {ONE: b"content"}
    assert started


def test_a_forked_process_reads_by_itself(file: Store) -> None:
    turns = _turns(file)
    _put(file, ONE, b"content")
    assert _get(turns, ONE) == {ONE: b"content"}
    child = os.fork()
    if not child:
        os._exit(0 if _get(turns, ONE) == {ONE: b"content"} else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    _put(file, TWO, b"more")
    assert _get(turns, ONE, TWO) == {ONE: b"content", TWO: b"more"}


def test_a_database_that_is_opened_again_keeps_the_locks_of_who_reads_it(file: Store, tmp_path: Path) -> None:
    """Else another process that leaves would take itself for the last one, and the log of changes away."""
    turns = _turns(file)
    _put(file, ONE, b"content")
    assert _get(turns, ONE) == {ONE: b"content"}
    file.engine.dispose()
    file.database.make()
    reads = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('SELECT * FROM settings')"
    subprocess.run([sys.executable, "-c", reads, tmp_path / "aibridge.db"], check=True)
    assert (tmp_path / "aibridge.db-wal").exists()
