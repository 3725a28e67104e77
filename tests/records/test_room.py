"""No room for records: the journals' limit, a full disk, and what becomes of exchanges meanwhile."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.records.telling import ended, in_sqlite, recording, select, started, whole
from tests.support.bridge import Bridge
from tests.support.clients import http_client
from tests.support.serving import Model
from tests.support.waiting import eventually


def _place(folder: Path, **more: Any) -> Any:
    return in_sqlite(folder).config(**more)


def _fill(folder: Path, size: int) -> Path:
    """A journal of another process, of so many bytes, that nobody folds yet."""
    folder.mkdir(exist_ok=True)
    path = folder / "0-other.0000000000.journal"
    path.write_bytes(bytes(size))
    return path


def test_at_the_limit_no_new_exchange_begins_and_those_that_run_are_recorded(tmp_path: Path) -> None:
    with recording(_place(tmp_path, journal_limit="10kB")) as recorder:
        recorder.tell(started("runs"))
        assert recorder.refuses() is None
        other = _fill(tmp_path / "journal", 20_000)
        told = eventually(recorder.refuses, what="the refusal")
        assert told and "no room for records" in told
        assert recorder.health()["state"] == "degraded" and "journal_limit" in recorder.health()["error"]
        recorder.tell(ended("runs"))
        other.unlink(missing_ok=True)
        eventually(lambda: recorder.refuses() is None, what="the room")
    assert select(tmp_path, "SELECT id, status FROM exchanges") == [("runs", "completed")]


def test_with_drop_exchanges_that_begin_without_room_are_counted_and_not_recorded(tmp_path: Path) -> None:
    with recording(_place(tmp_path, journal_limit="10kB", on_full="drop")) as recorder:
        recorder.tell(started("before"))
        other = _fill(tmp_path / "journal", 20_000)

        def dropped() -> bool:
            for fact in whole():
                recorder.tell(fact)
            return recorder.lost().get("JournalFull", 0) > 0

        eventually(dropped, what="the first that is dropped")
        for fact in whole("during"):
            recorder.tell(fact)
        assert recorder.refuses() is None
        recorder.tell(ended("before"))
        other.unlink(missing_ok=True)
    found = dict(select(tmp_path, "SELECT id, status FROM exchanges"))
    assert "during" not in found and found["before"] == "completed"
    assert set(found.values()) == {"completed"}


@contextmanager
def _small_disk(folder: Path, size: str) -> Iterator[None]:
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a small disk needs the right to mount one: run the tests as root")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_stops_new_requests_and_loses_no_record(tmp_path: Path, model: Model) -> None:
    """A disk of its own for the journal, really full, under the real process."""
    with _small_disk(tmp_path / "disk", "256k"):
        config = {
            "upstreams": {"up": {"base_url": model.base_url}},
            "records": {"journal": str(tmp_path / "disk" / "journal"), "journal_limit": "512KiB"},
        }
        with Bridge(tmp_path, config) as bridge, http_client() as client:
            answered = [_ask(client, bridge).status_code]
            filler = tmp_path / "disk" / "filler"
            with filler.open("wb", buffering=0) as file:
                _write_until_full(file)

            def is_refused() -> bool:
                answered.append(_ask(client, bridge).status_code)
                return answered[-1] == 503

            eventually(is_refused, 20, "the refusal")
            refused = _ask(client, bridge)
            assert refused.status_code == 503 and refused.json()["error"]["code"] == "overloaded"
            assert int(refused.headers["retry-after"]) > 0
            assert bridge.readiness()["records"]["state"] == "degraded"
            filler.unlink()
            eventually(lambda: _ask(client, bridge).status_code == 200, 20, "the way back")
            eventually(lambda: bridge.readiness()["records"]["state"] == "ok", 20, "good records")
            bridge.stop()
        rows = bridge.rows("exchanges")
        assert {row["status"] for row in rows} == {"completed"}
        assert len(rows) == answered.count(200) + 1


def _write_until_full(file: Any) -> None:
    for size in (4096, 1):
        try:
            while file.write(bytes(size)):
                pass
        except OSError:
            continue


def _ask(client: httpx2.Client, bridge: Bridge) -> httpx2.Response:
    body = {"model": "m-1", "messages": [{"role": "user", "content": "hello " * 200}]}
    return client.post(f"{bridge.base_url}/chat/completions", json=body)
