"""The journal's files: appended to, read from the oldest on, removed when read, held by their owner."""

import errno
import os
import resource
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from aibridge.records import files
from aibridge.records.codec import frame
from aibridge.records.journal import Journal
from aibridge.records.tail import GROUP, Tail


def _read_all(tail: Tail, newest: int) -> list[bytes]:
    entries: list[bytes] = []
    while group := tail.read(newest):
        entries += group
        tail.advance()
    return entries


@contextmanager
def _journal(folder: Path, segment_size: int = 1 << 20) -> Iterator[tuple[Journal, Tail]]:
    journal = Journal(folder, segment_size)
    tail = Tail(folder, journal.id)
    try:
        yield journal, tail
    finally:
        tail.close(forget=False)
        journal.close()


def test_entries_are_read_in_order_also_over_segments(tmp_path: Path) -> None:
    entries = [f"entry {number}".encode() for number in range(50)]
    with _journal(tmp_path, segment_size=100) as (journal, tail):
        for entry in entries:
            journal.append([entry])
        assert journal.newest > 3
        assert _read_all(tail, journal.newest) == entries
        assert tail.position == journal.position


def test_segments_that_were_read_are_removed(tmp_path: Path) -> None:
    with _journal(tmp_path, segment_size=100) as (journal, tail):
        for number in range(200):
            journal.append([b"%d" % number])
            _read_all(tail, journal.newest)
            assert len(files.segment_numbers(tmp_path, journal.id)) == 1


def test_what_was_not_said_to_be_safe_comes_again(tmp_path: Path) -> None:
    with _journal(tmp_path) as (journal, tail):
        journal.append([b"one", b"two"])
        assert tail.read(journal.newest) == tail.read(journal.newest) == [b"one", b"two"]
        tail.advance()
        assert tail.read(journal.newest) == []


def test_an_entry_larger_than_a_group_is_read(tmp_path: Path) -> None:
    large = b"x" * (3 * GROUP)
    with _journal(tmp_path) as (journal, tail):
        journal.append([b"small", large, b"last"])
        assert _read_all(tail, journal.newest) == [b"small", large, b"last"]


def test_a_segment_cut_at_any_byte_gives_the_entries_before(tmp_path: Path) -> None:
    data = frame(b"first") + frame(b"second")
    for length in range(len(data)):
        files.segment_path(tmp_path, "cut", 0).write_bytes(data[:length])
        tail = Tail(tmp_path, "cut")
        assert tail.read(newest=0) == ([b"first"] if length >= len(frame(b"first")) else [])
        tail.close(forget=True)


def test_only_its_user_can_read_a_journal(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    with _journal(folder):
        assert folder.stat().st_mode & 0o777 == 0o700
        assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_a_journal_that_was_read_whole_leaves_no_file(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append([b"entry"])
    tail = Tail(tmp_path, journal.id)
    _read_all(tail, journal.newest)
    tail.close(forget=True)
    journal.close()
    assert list(tmp_path.iterdir()) == []


def test_a_journal_that_was_not_read_stays(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append([b"entry"])
    journal.close()
    assert files.journals(tmp_path) == [journal.id]
    assert files.segment_numbers(tmp_path, journal.id) == [0]


def test_a_journal_is_held_while_its_owner_has_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append([b"entry"])
    assert files.hold(files.marker_path(tmp_path, journal.id)) is None
    journal.close()
    held = files.hold(files.marker_path(tmp_path, journal.id))
    assert held is not None
    os.close(held)


def test_nothing_is_appended_to_a_sealed_journal(tmp_path: Path) -> None:
    with _journal(tmp_path) as (journal, _):
        journal.seal()
        with pytest.raises(ValueError, match="sealed"):
            journal.append([b"late"])


def test_entries_after_one_that_found_the_disk_full_are_read(tmp_path: Path) -> None:
    with _journal(tmp_path, segment_size=100) as (journal, tail):
        journal.append([b"before"])
        with _largest_file(1000), pytest.raises(OSError) as caught:
            journal.append([b"x" * 2000])
        assert caught.value.errno in (errno.ENOSPC, errno.EFBIG)
        assert files.segment_numbers(tmp_path, journal.id) == [0]
        journal.append([b"after"])
        journal.append([b"y" * 100])
        assert _read_all(tail, journal.newest) == [b"before", b"after", b"y" * 100]


def test_a_segment_that_was_left_ends_with_its_last_entry(tmp_path: Path) -> None:
    with _journal(tmp_path, segment_size=100) as (journal, _):
        journal.append([b"first"])
        journal.append([b"x" * 100])
        journal.prepare()
        assert files.segment_path(tmp_path, journal.id, 0).read_bytes() == frame(b"first")


def test_the_next_segment_is_there_before_it_is_needed(tmp_path: Path) -> None:
    with _journal(tmp_path, segment_size=100) as (journal, tail):
        journal.append([b"x" * 60])
        journal.prepare()
        assert files.segment_numbers(tmp_path, journal.id) == [0, 1]
        journal.append([b"y" * 60])
        assert journal.position == (1, len(frame(b"y" * 60)))
        assert _read_all(tail, journal.newest) == [b"x" * 60, b"y" * 60]


def test_an_entry_too_large_for_the_next_segment_keeps_its_place(tmp_path: Path) -> None:
    entries = [b"x" * 60, b"y" * 200, b"z" * 60, b"z" * 60]
    with _journal(tmp_path, segment_size=100) as (journal, tail):
        for entry in entries:
            journal.append([entry])
            journal.prepare()
        assert _read_all(tail, journal.newest) == entries


def test_entries_are_in_order_while_another_thread_prepares(tmp_path: Path) -> None:
    entries = [b"%d" % number * (number % 30 + 1) for number in range(3000)]
    with _journal(tmp_path, segment_size=500) as (journal, tail):
        over = threading.Event()

        def prepare() -> None:
            while not over.is_set():
                journal.prepare()

        with ThreadPoolExecutor() as pool:
            preparing = pool.submit(prepare)
            for entry in entries:
                journal.append([entry])
            over.set()
            preparing.result()
        assert _read_all(tail, journal.newest) == entries
    assert files.segment_numbers(tmp_path, journal.id) == [journal.newest]


def test_nobody_who_prepares_costs_no_descriptors(tmp_path: Path) -> None:
    with _journal(tmp_path, segment_size=100) as (journal, _):
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(50):
            journal.append([b"x" * 90])
        assert len(list(Path("/proc/self/fd").iterdir())) < before + 10


def _refuse(*_: int) -> None:
    raise OSError(errno.EOPNOTSUPP, "not supported")


@pytest.mark.parametrize("there_is", [True, False])
def test_room_is_taken_where_the_disk_or_the_system_cannot_set_it_aside(
    there_is: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if there_is:
        monkeypatch.setattr(os, "posix_fallocate", _refuse)
    else:
        monkeypatch.delattr(os, "posix_fallocate")
    with _journal(tmp_path) as (journal, tail):
        journal.append([b"entry"])
        assert _read_all(tail, journal.newest) == [b"entry"]
        with _largest_file(1000), pytest.raises(OSError):
            journal.append([b"x" * (2 << 20)])
        assert files.segment_numbers(tmp_path, journal.id) == [0]


def test_a_segment_that_somebody_deletes_is_still_read(tmp_path: Path) -> None:
    with _journal(tmp_path) as (journal, tail):
        files.segment_path(tmp_path, journal.id, 0).unlink()
        journal.append([b"entry"])
        assert _read_all(tail, journal.newest) == [b"entry"]


def test_a_journal_whose_folder_was_deleted_goes_on_in_a_new_one(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    with _journal(folder, segment_size=1000) as (journal, tail):
        journal.append([b"before"])
        journal.append([b"x" * 600])
        journal.prepare()  # which makes a spare
        shutil.rmtree(folder)
        journal.append([b"meanwhile"])
        journal.prepare()
        journal.append([b"after"])
        assert files.journals(folder) == [journal.id]
        assert files.hold(files.marker_path(folder, journal.id)) is None
        [number] = files.segment_numbers(folder, journal.id)
        assert frame(b"after") in files.segment_path(folder, journal.id, number).read_bytes()
        assert _read_all(tail, journal.newest) == [b"before", b"x" * 600, b"meanwhile", b"after"]
        assert tail.position == journal.position
        journal.prepare()
        assert files.segment_numbers(folder, journal.id) == [number]


@contextmanager
def _largest_file(size: int) -> Iterator[None]:
    """The kernel writes what fits below `size` bytes and no more, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
