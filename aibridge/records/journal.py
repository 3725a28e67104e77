"""The journal of a living process: entries are in the kernel's hands before `append` returns.

There is no fsync: entries outlive `kill -9` of the process, not a loss of power. Full segments are left
behind for `tail`, which reads and removes them; `takeover` reads what dead owners left.
"""

import errno
import os
import threading
from collections.abc import Sequence
from pathlib import Path

from aibridge.nouns import new_id
from aibridge.records import files
from aibridge.records.codec import frame

SEGMENT_SIZE = 1 << 20
"""Bytes after which a new segment begins; what a process has folded and not yet removed stays below it."""


class Journal:
    """Segments in `folder` that this process appends to; raises OSError when they cannot be made."""

    def __init__(self, folder: Path, segment_size: int = SEGMENT_SIZE) -> None:
        self.folder = folder
        self._segment_size = segment_size
        self._lock = threading.Lock()
        files.make_folder(folder)
        self.id, self._marker = _own(folder)
        self._segment: int | None = None
        self._number = 0
        self._size = 0
        self.appended = 0
        """How many entries were appended."""
        self._begin(0)

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
        """Append entries with one write: all of them or, with OSError or ValueError, none."""
        data = b"".join(map(frame, payloads))
        with self._lock:
            if self._segment is None:
                raise ValueError("the journal is sealed")
            if self._size >= self._segment_size:
                self._begin(self._number + 1)
            written = os.write(self._segment, data)
            if written != len(data):
                self._take_back()
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._size += written
            self.appended += len(payloads)

    def seal(self) -> None:
        """Nothing is appended from now on."""
        with self._lock:
            if self._segment is not None:
                os.close(self._segment)
                self._segment = None

    def close(self) -> None:
        """Let go of the journal; where segments are left, the next process takes them over."""
        self.seal()
        if not files.segment_numbers(self.folder, self.id):
            files.marker_path(self.folder, self.id).unlink(missing_ok=True)
        os.close(self._marker)

    def _begin(self, number: int) -> None:
        """Begin the segment `number`."""
        files.make_folder(self.folder)
        path = files.segment_path(self.folder, self.id, number)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        begun = os.open(path, flags, files.FILE_MODE)
        if self._segment is not None:
            os.close(self._segment)
        self._segment, self._number, self._size = begun, number, 0

    def _take_back(self) -> None:
        """Remove the part of an entry that still fitted; what follows it could not be read."""
        assert self._segment is not None
        try:
            os.ftruncate(self._segment, self._size)
        except OSError:
            self._size = self._segment_size  # the next entry begins a segment


def _own(folder: Path) -> tuple[str, int]:
    """A new journal's id and its marker, locked."""
    while True:
        journal = new_id()
        if (marker := files.hold(files.marker_path(folder, journal))) is not None:
            return journal, marker
