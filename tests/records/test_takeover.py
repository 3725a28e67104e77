"""Journals of ended processes are folded and removed, those of living ones left alone."""

import os
import shutil
import subprocess
from pathlib import Path

from aibridge.config import Records
from aibridge.records import files
from aibridge.records.entries import Encoder
from aibridge.records.journal import Journal
from aibridge.records.opening import open_store
from tests.records.telling import (
    ROOT,
    child_command,
    dump,
    ended,
    recording,
    records_in,
    select,
    started,
    whole,
)


def _left_behind(folder: Path, exchanges: list[str], segment_size: int = 1 << 20) -> Journal:
    """The journal of a process that ended without folding it."""
    journal, encode = Journal(folder, segment_size), Encoder(Records())
    for exchange in exchanges:
        journal.append([encode(fact) for fact in whole(exchange)])
    journal.close()
    return journal


def test_all_segments_of_a_dead_owner_are_folded_and_removed(tmp_path: Path) -> None:
    config = records_in(tmp_path)
    names = [f"exchange-{number:02}" for number in range(40)]
    journal = _left_behind(tmp_path / "journal", names, segment_size=2000)
    assert len(files.segment_numbers(tmp_path / "journal", journal.id)) > 5
    store, problem = open_store(config)
    store.close()
    assert problem is None
    assert select(tmp_path, "SELECT id FROM exchanges ORDER BY id") == [(name,) for name in names]
    assert list((tmp_path / "journal").iterdir()) == []


def test_a_torn_end_of_a_journal_costs_the_torn_entry_alone(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    journal = _left_behind(folder, ["a", "b"])
    segment = files.segment_path(folder, journal.id, 0)
    os.truncate(segment, segment.stat().st_size - 3)
    open_store(records_in(tmp_path))[0].close()
    found = select(tmp_path, "SELECT id, status FROM exchanges ORDER BY id")
    assert found == [("a", "completed"), ("b", "interrupted")]


def test_segments_without_their_marker_are_folded_too(tmp_path: Path) -> None:
    journal = _left_behind(tmp_path / "journal", ["a"])
    files.marker_path(tmp_path / "journal", journal.id).unlink()
    open_store(records_in(tmp_path))[0].close()
    assert select(tmp_path, "SELECT id FROM exchanges") == [("a",)]
    assert list((tmp_path / "journal").iterdir()) == []


def test_a_takeover_that_was_cut_short_is_done_again(tmp_path: Path) -> None:
    """The rows are there already, the journal still is: as after a kill between the two."""
    _left_behind(tmp_path / "journal", ["a", "b"])
    shutil.copytree(tmp_path / "journal", tmp_path / "copy")
    open_store(records_in(tmp_path))[0].close()
    once = dump(tmp_path)
    (tmp_path / "journal").rmdir()
    (tmp_path / "copy").rename(tmp_path / "journal")
    open_store(records_in(tmp_path))[0].close()
    assert dump(tmp_path) == once
    assert list((tmp_path / "journal").iterdir()) == []


def test_the_journal_of_a_living_process_is_left_alone(tmp_path: Path) -> None:
    config = records_in(tmp_path)
    with recording(config) as recorder:
        recorder.tell(started("a"))
        assert recorder.flush()
        before = sorted((tmp_path / "journal").iterdir())
        store, problem = open_store(config)
        store.close()
        assert problem is None
        assert sorted((tmp_path / "journal").iterdir()) == before
        assert select(tmp_path, "SELECT status FROM exchanges") == [("running",)]
        recorder.tell(ended("a"))
    assert select(tmp_path, "SELECT status FROM exchanges") == [("completed",)]


def test_foreign_files_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    folder.mkdir()
    (folder / "README").write_text("mine")
    open_store(records_in(tmp_path))[0].close()
    assert [path.name for path in folder.iterdir()] == ["README"]


def test_two_processes_that_take_over_at_once_do_it_once(tmp_path: Path) -> None:
    names = [f"exchange-{number:03}" for number in range(200)]
    for start in range(0, 200, 20):
        _left_behind(tmp_path / "journal", names[start : start + 20])
    code = """
from aibridge.records.opening import open_store
store, problem = open_store(config)
store.close()
print(problem)
"""
    command = child_command(code, tmp_path)
    children = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [each.communicate(timeout=60)[0].splitlines()[-1] for each in children] == ["None"] * 3
    assert [each.returncode for each in children] == [0] * 3
    assert select(tmp_path, "SELECT id FROM exchanges ORDER BY id") == [(name,) for name in names]
    assert list((tmp_path / "journal").iterdir()) == []
