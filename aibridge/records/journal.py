"""The journal of a living process: entries are in the kernel's hands before `append` returns.

Segments are mapped into memory, with their disk space taken beforehand: an entry costs no system call, in
which other threads could take the interpreter away from requests. There is no fsync: entries outlive
`kill -9` of the process, not a loss of power. Full segments are left behind for `tail`, which reads and
removes them; `takeover` reads what dead owners left.
"""

import errno
import mmap
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from aibridge.ids import new_id
from aibridge.records import files
from aibridge.records.codec import frame

SEGMENT_SIZE = 512 << 10
"""Bytes of a segment, some hundred exchanges: a new file costs as much as ten of them. What a process has
folded and not yet removed is less."""
MOST_FULL = 4
"""Segments that wait to be left; each has a descriptor."""


@dataclass(slots=True)
class _Segment:
    """A file of the journal, mapped."""

    number: int
    path: Path
    file: int
    space: mmap.mmap

    def leave(self, size: int) -> None:
        """It ends with its last entry."""
        self.space.close()
        try:
            os.ftruncate(self.file, size)
        finally:
            os.close(self.file)

    def discard(self) -> None:
        """Nothing was written to it."""
        self.leave(0)
        self.path.unlink(missing_ok=True)


class Journal:
    """Segments in `folder` that this process appends to; raises OSError when they cannot be made."""

    def __init__(self, folder: Path, segment_size: int = SEGMENT_SIZE) -> None:
        self.folder = folder
        self._segment_size = segment_size
        self._lock = threading.Lock()
        files.make_folder(folder)
        self.id, self._marker = _own(folder)
        self._numbers = count()
        self._number = self._size = 0
        self._segment: _Segment | None = None
        """What is written."""
        self._spare: _Segment | None = None
        """What will be."""
        self._full: list[tuple[_Segment, int]] = []
        """What was, and how many bytes of it; to be left when there is time."""
        self.appended = 0
        """How many entries were appended."""
        self._begin(self._made(0))

    @property
    def position(self) -> tuple[int, int]:
        """Segment and byte after the last entry; positions compare by age."""
        with self._lock:
            return self._number, self._size

    @property
    def newest(self) -> int:
        """The segment that is being written; all before it are complete."""
        return self._number

    def append(self, payloads: Sequence[bytes]) -> None:
        """Append entries: all of them or, with OSError or ValueError, none."""
        data = b"".join(map(frame, payloads))
        with self._lock:
            segment = self._segment
            if segment is None:
                raise ValueError("the journal is sealed")
            if self._size + len(data) > len(segment.space):
                segment = self._next(len(data))
            end = self._size + len(data)
            segment.space[self._size : end] = data
            self._size = end
            self.appended += len(payloads)

    def prepare(self) -> None:
        """Make the next segment before it is needed, and leave those that are full: the disk may be slow.

        For another thread than that of requests. What fails is tried again when it is needed.
        """
        with self._lock:
            full, self._full = self._full, []
            segment = self._segment
            wanted = segment and self._spare is None and self._size > len(segment.space) // 2
        for each, size in full:
            each.leave(size)
        if segment is not None and self._is_deleted(segment):
            self._begin_again(segment)
        elif wanted:
            self._make_spare()

    def _make_spare(self) -> None:
        try:
            made = self._made(0)
        except OSError:
            return
        for at in range(0, len(made.space), mmap.PAGESIZE):
            made.space[at] = 0  # the first touch of a page may wait for the disk too
        with self._lock:
            if self._segment is not None and self._spare is None and made.number > self._number:
                self._spare = made
                return
        made.discard()

    def _is_deleted(self, segment: _Segment) -> bool:
        with self._lock:  # so that nobody closes it
            return self._segment is segment and not os.fstat(segment.file).st_nlink

    def _begin_again(self, deleted: _Segment) -> None:
        """Go on in a file that a later process will find; who reads the deleted one has it open."""
        try:
            files.make_folder(self.folder)
            if not os.fstat(self._marker).st_nlink:  # first: a segment without one would be taken over
                held = files.hold(files.marker_path(self.folder, self.id))
                if held is None:
                    return
                os.close(self._marker)
                self._marker = held
            made = self._made(0)
        except OSError:
            return
        with self._lock:
            if self._segment is deleted:
                spare, self._spare = self._spare, None
                self._full += [(spare, 0)] if spare else []
                self._begin(made)
                return
        made.discard()

    def seal(self) -> None:
        """Nothing is appended from now on."""
        with self._lock:
            spare, self._spare = self._spare, None
            full, self._full = self._full, []
            last, self._segment = self._segment, None
        if spare is not None:
            spare.discard()
        for each, size in [*full, *([(last, self._size)] if last else [])]:
            each.leave(size)

    def close(self) -> None:
        """Let go of the journal; where segments are left, the next process takes them over."""
        self.seal()
        if not files.segment_numbers(self.folder, self.id):
            files.marker_path(self.folder, self.id).unlink(missing_ok=True)
        os.close(self._marker)

    def _next(self, least: int) -> _Segment:
        """Go on to a segment with room for `least` bytes; where that fails the old one goes on."""
        spare = self._spare
        if spare is not None and len(spare.space) >= least:
            self._spare = None
            return self._begin(spare)
        made = self._made(least)
        if spare is not None:  # it would come after a younger one
            self._spare = None
            self._full.append((spare, 0))
        return self._begin(made)

    def _begin(self, segment: _Segment) -> _Segment:
        if self._segment is not None:
            self._full.append((self._segment, self._size))
        if len(self._full) > MOST_FULL:  # who prepares is held up
            left, size = self._full.pop(0)
            left.leave(size)
        self._segment, self._number, self._size = segment, segment.number, 0
        return segment

    def _made(self, least: int) -> _Segment:
        """A new segment, with room for `least` bytes; between two numbers some may be missing."""
        number = next(self._numbers)
        path = files.segment_path(self.folder, self.id, number)
        room = max(self._segment_size, least)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            begun = os.open(path, flags, files.FILE_MODE)
        except FileNotFoundError:  # somebody deleted the folder
            files.make_folder(self.folder)
            begun = os.open(path, flags, files.FILE_MODE)
        try:
            _take_space(begun, room)
            return _Segment(number, path, begun, mmap.mmap(begun, room))
        except OSError:
            os.close(begun)
            path.unlink(missing_ok=True)
            raise


def _take_space(segment: int, size: int) -> None:
    """Have the disk set `size` bytes aside: a page that finds no room later would kill the process."""
    if not _set_aside(segment, size) and os.write(segment, bytes(size)) != size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _set_aside(segment: int, size: int) -> bool:
    """Whether the system and the disk know how to; raises OSError where there is no room."""
    if not hasattr(os, "posix_fallocate"):  # macOS
        return False
    try:
        os.posix_fallocate(segment, 0, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise
        return False
    return True


def _own(folder: Path) -> tuple[str, int]:
    """A new journal's id and its marker, locked."""
    while True:
        journal = new_id()
        if (marker := files.hold(files.marker_path(folder, journal))) is not None:
            return journal, marker
