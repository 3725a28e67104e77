"""PostgreSQL: away, killed, standing still and back again; records arrive once and nobody waits."""

import asyncio
import gc
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aibridge.config import DatabaseUrl
from aibridge.records import Recorder, RecordsError, open_records, open_tool_shelf
from aibridge.records.failures import DatabaseFailing
from aibridge.records.store import Store
from tests.records.telling import (
    ROOT,
    Place,
    child_command,
    in_postgres,
    recording,
    started,
    whole,
)
from tests.support.postgres import PASSWORD, Cluster
from tests.support.waiting import eventually


@pytest.fixture
def kept(tmp_path: Path, postgres: Cluster) -> Place:
    return in_postgres(tmp_path, postgres.database())


@contextmanager
def _away(postgres: Cluster, how: signal.Signals = signal.SIGINT) -> Iterator[None]:
    postgres.stop(how)
    try:
        yield
    finally:
        postgres.start()


def _tell(recorder: Recorder, names: list[str]) -> None:
    for name in names:
        for fact in whole(name):
            recorder.tell(fact)


def _once(place: Place, names: list[str]) -> None:
    """Each exchange is there once and whole, nothing else is."""
    assert place.select("SELECT id FROM exchanges WHERE status = 'completed' ORDER BY id") == [
        (name,) for name in sorted(names)
    ]
    for table, each in (("token_usages", 2), ("tool_calls", 1), ("prompts", 1), ("thoughts", 2)):
        assert place.select(f"SELECT count(*) FROM {table}") == [(each * len(names),)], table


def test_a_server_that_is_away_delays_records_and_loses_none(kept: Place, postgres: Cluster) -> None:
    names = [f"exchange-{number:03}" for number in range(300)]
    with recording(kept.config()) as recorder:
        _tell(recorder, names[:100])
        with _away(postgres, signal.SIGQUIT):  # as in a crash, maybe in the middle of a group
            _tell(recorder, names[100:200])
            eventually(lambda: recorder.health()["state"] == "degraded", what="the failure")
            assert recorder.health()["pending"] >= 500
        _tell(recorder, names[200:])
        assert recorder.flush(30)
        assert recorder.health()["state"] == "ok"
    _once(kept, names)
    assert list((kept.folder / "journal").glob("*.journal")) == []


def test_aibridge_starts_while_the_server_is_away_and_catches_up(kept: Place, postgres: Cluster) -> None:
    with _away(postgres):
        recorder = open_records(kept.config())
        secret = recorder.caller_secret()
        _tell(recorder, ["a", "b"])
        eventually(lambda: recorder.health()["state"] == "degraded", what="the failure")
    assert recorder.flush(30), recorder.health()
    recorder.close()
    _once(kept, ["a", "b"])
    with recording(kept.config(journal="another")) as other:
        assert other.caller_secret() == secret, "the database took the secret that was made without it"


def test_two_processes_that_start_without_the_server_agree_on_the_secret(
    kept: Place, postgres: Cluster
) -> None:
    with _away(postgres), recording(kept.config()) as one, recording(kept.config()) as two:
        assert one.caller_secret() == two.caller_secret()


def test_a_secret_that_was_made_without_the_server_gives_way_to_that_of_the_server(
    kept: Place, postgres: Cluster
) -> None:
    with recording(kept.config()) as first:
        shared = first.caller_secret()
    with _away(postgres):
        late = open_records(kept.config(journal="another"))
        assert late.caller_secret() != shared
    eventually(lambda: late.caller_secret() == shared, 30, "the server's secret")
    late.close()
    with _away(postgres), recording(kept.config(journal="another")) as later:
        assert later.caller_secret() == shared, "there is a copy now"


def test_a_start_with_what_the_server_refuses_is_one_sentence_without_the_password(
    kept: Place, postgres: Cluster
) -> None:
    for url in (kept.url.replace("/records", "/nonesuch"), kept.url.replace("postgres:a", "nobody:a")):
        with pytest.raises(RecordsError, match="does not exist") as caught:
            open_records(Place(kept.folder, url).config())
        assert PASSWORD not in str(caught.value) and "\n" not in str(caught.value)


def test_recall_is_a_miss_at_once_while_the_server_is_away(kept: Place, postgres: Cluster) -> None:
    async def ask(times: int) -> list[str]:
        turns, told = recorder.hidden_turns(), []
        for _ in range(times):
            try:
                told.append(str(await turns.get([b"1" * 32])))
            except DatabaseFailing as error:
                told.append(str(error))
        return told

    with recording(kept.config()) as recorder:
        asyncio.run(
            recorder.hidden_turns().put(b"1" * 32, b"content", newest_wins=True, caller="c", user=None)
        )
        with _away(postgres):
            assert all("refused" in error or "closed" in error for error in asyncio.run(ask(50)))
            assert recorder.health()["state"] == "degraded"
        eventually(lambda: recorder.health()["state"] == "ok", what="the way back, which nobody asks for")
        eventually(lambda: "content" in asyncio.run(ask(1))[0], 30, "the way back")


# What hung is dropped with its connection.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_server_that_stands_still_holds_up_neither_recall_nor_a_stop(
    kept: Place, postgres: Cluster
) -> None:
    before = set(threading.enumerate())
    recorder = open_records(kept.config())
    turns = recorder.hidden_turns()
    asyncio.run(turns.put(b"1" * 32, b"content", newest_wins=True, caller="c", user=None))
    postgres.pause()
    try:
        for _ in range(20):
            with pytest.raises(DatabaseFailing, match="did not answer"):
                asyncio.run(turns.get([b"1" * 32]))
        _tell(recorder, ["a"])
        eventually(lambda: recorder.health()["state"] == "degraded", what="the failure")
        recorder.close(within=0.1)
    finally:
        postgres.resume()
    eventually(lambda: set(threading.enumerate()) <= before, 30, "the end of what hung")
    gc.collect()
    with recording(kept.config()):
        _once(kept, ["a"])


def test_lists_and_pins_of_tools_rest_in_postgresql_too(kept: Place) -> None:
    with recording(kept.config()) as recorder:
        asyncio.run(recorder.tool_shelf().pin("time", {"now": "1"}, replace=False))
    shelf = open_tool_shelf(kept.config())
    assert shelf is not None
    assert asyncio.run(shelf.pins("time")) == {"now": "1"}
    shelf.close()


def test_a_killed_process_loses_nothing_whatever_its_server_does(kept: Place, postgres: Cluster) -> None:
    code = """
import structlog
structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
recorder = open_records(config)
for number in range(10**9):
    for fact in whole(f"exchange-{number}"):
        recorder.tell(fact)
    print(f"exchange-{number}", flush=True)
"""
    command = child_command(code, kept.folder, kept.url)
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as serving:
        assert serving.stdout is not None
        seen = {next(serving.stdout).strip() for _ in range(300)}
        with _away(postgres, signal.SIGQUIT):
            seen |= {next(serving.stdout).strip() for _ in range(300)}
        seen |= {next(serving.stdout).strip() for _ in range(300)}
        serving.kill()
    with recording(kept.config()) as recorder:
        recorder.tell(started("later"))
        found = kept.select("SELECT id FROM exchanges WHERE status = 'completed'")
        assert seen <= {name for (name,) in found}
        assert kept.select("SELECT count(*) FROM tool_calls") >= [(len(found),)]


def test_several_processes_with_journals_of_their_own_fill_one_database(
    kept: Place, postgres: Cluster
) -> None:
    code = """
with recording(config) as recorder:
    print("told", flush=True)
    for number in range(100):
        for fact in whole(f"{os.getpid()}-{number:03}"):
            recorder.tell(fact)
    sys.stdin.read()
"""
    folders = [kept.folder / name for name in ("one", "two", "two")]
    children = []
    for folder in folders:
        command = child_command(code, folder, kept.url)
        children.append(subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
    for each in children:
        assert each.stdout is not None and each.stdout.readline() == b"told\n"
    with _away(postgres, signal.SIGQUIT):
        pass
    for each in children:
        each.communicate(timeout=60)
    assert [each.returncode for each in children] == [0] * 3
    _once(kept, [f"{each.pid}-{number:03}" for each in children for number in range(100)])


def test_processes_that_start_at_once_migrate_once(kept: Place) -> None:
    stores = [Store(DatabaseUrl(kept.url)) for _ in range(4)]
    failures: list[Exception] = []

    def open_one(store: Store) -> None:
        try:
            store.open()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=open_one, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for store in stores:
        store.close()
    assert failures == []
    assert kept.select("SELECT count(*) FROM exchanges") == [(0,)]
