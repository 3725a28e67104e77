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
from pathlib import Path

from aibridge.nouns import new_id
from aibridge.records import files
from aibridge.records.codec import frame

SEGMENT_SIZE = 512 << 10
"""Bytes of a segment, some hundred exchanges: a new file costs as much as ten of them. What a process has
folded and not yet removed is less."""


class Journal:
    """Segments in `folder` that this process appends to; raises OSError when they cannot be made."""

    def __init__(self, folder: Path, segment_size: int = SEGMENT_SIZE) -> None:
        self.folder = folder
        self._segment_size = segment_size
        self._lock = threading.Lock()
        files.make_folder(folder)
        self.id, self._marker = _own(folder)
        self._number = self._size = 0
        self._segment: tuple[int, mmap.mmap] | None = None
        """The file that is written, and its bytes."""
        self.appended = 0
        """How many entries were appended."""
        self._begin(0, 0)

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
            if self._segment is None:
                raise ValueError("the journal is sealed")
            if self._size + len(data) > len(self._segment[1]):
                self._begin(self._number + 1, len(data))
            end = self._size + len(data)
            self._segment[1][self._size : end] = data
            self._size = end
            self.appended += len(payloads)

    def seal(self) -> None:
        """Nothing is appended from now on."""
        with self._lock:
            left, self._segment = self._segment, None
            _leave(left, self._size)

    def close(self) -> None:
        """Let go of the journal; where segments are left, the next process takes them over."""
        self.seal()
        if not files.segment_numbers(self.folder, self.id):
            files.marker_path(self.folder, self.id).unlink(missing_ok=True)
        os.close(self._marker)

    def _begin(self, number: int, least: int) -> None:
        """Begin the segment `number`, with room for `least` bytes; where that fails the old one goes on."""
        files.make_folder(self.folder)
        path = files.segment_path(self.folder, self.id, number)
        room = max(self._segment_size, least)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        begun = os.open(path, flags, files.FILE_MODE)
        try:
            _take_space(begun, room)
            mapped = mmap.mmap(begun, room)
        except OSError:
            os.close(begun)
            path.unlink(missing_ok=True)
            raise
        left, size = self._segment, self._size
        self._segment, self._number, self._size = (begun, mapped), number, 0
        _leave(left, size)


def _leave(segment: tuple[int, mmap.mmap] | None, size: int) -> None:
    """A segment ends with its last entry."""
    if segment is None:
        return
    file, mapped = segment
    mapped.close()
    try:
        os.ftruncate(file, size)
    finally:
        os.close(file)


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
