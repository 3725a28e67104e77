"""Reads a journal from its oldest entry on, a group at a time, and removes segments that were read.

Nothing is removed before `advance` said that the group is safe elsewhere. A torn or corrupt entry ends
its segment: nobody writes after it.
"""

import os
from pathlib import Path

from aibridge.records import files
from aibridge.records.codec import frame_end, unframe

GROUP = 128 << 10
"""Bytes read at a time: some hundred entries, a few milliseconds of work."""


class Tail:
    """Where reading of the journal `journal` stands, from segment `number` on."""

    def __init__(self, folder: Path, journal: str, number: int = 0) -> None:
        self._folder, self._journal = folder, journal
        self._number, self._offset, self._read = number, 0, 0
        self._segment: int | None = None
        # Opened now: a segment that somebody deletes while its writer lives is still read.
        self._open()

    @property
    def position(self) -> tuple[int, int]:
        """Segment and byte before which all entries are safe elsewhere."""
        return self._number, self._offset

    def read(self, newest: int) -> list[bytes]:
        """The next entries; none where all were read. Segments before `newest` are complete.

        The same entries come again until `advance`. Raises OSError.
        """
        while True:
            payloads, self._read = self._group()
            if payloads or self._number >= newest:
                return payloads
            self._forget()

    def advance(self) -> None:
        """The entries of the last `read` are safe elsewhere."""
        self._offset += self._read
        self._read = 0

    def close(self, *, forget: bool) -> None:
        """Stop reading; `forget` removes the segment that was read last."""
        if forget:
            self._forget()
        self._shut()

    def _group(self) -> tuple[list[bytes], int]:
        if self._segment is None and not self._open():
            return [], 0
        assert self._segment is not None
        data = os.pread(self._segment, GROUP, self._offset)
        end = frame_end(data, 0)
        if end is not None and len(data) < end <= os.fstat(self._segment).st_size - self._offset:
            data = os.pread(self._segment, end, self._offset)
        return unframe(data)

    def _open(self) -> bool:
        try:
            path = files.segment_path(self._folder, self._journal, self._number)
            self._segment = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        return True

    def _forget(self) -> None:
        files.segment_path(self._folder, self._journal, self._number).unlink(missing_ok=True)
        self._shut()
        self._number, self._offset, self._read = self._number + 1, 0, 0

    def _shut(self) -> None:
        if self._segment is not None:
            os.close(self._segment)
            self._segment = None
