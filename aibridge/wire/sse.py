"""Server-sent events as they travel: an incremental decoder that keeps each event's raw bytes.

Rules (WHATWG HTML, section 9.2): a line ends in LF, CRLF or CR; a blank line ends an event; several
`data` lines are joined by LF; one blank after the colon belongs to the syntax; a line that begins with
a colon is a comment. Whatever the chopping, the events are the same and their raw bytes, put together,
are the stream. What the data means is left to the dialects.
"""

import re
from dataclasses import dataclass

BLANK_LINE = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
LINE_END = re.compile(rb"\r\n|\n|\r")
LF = ord("\n")
BOM = b"\xef\xbb\xbf"
LONGEST_EVENT = 64 << 20
"""Bytes: no provider sends more in one event; without a bound a stream without blank lines fills memory."""


class TooLong(Exception):
    """An event is longer than the decoder takes."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event, with the bytes that it came in."""

    raw: bytes

    @property
    def data(self) -> bytes | None:
        """The joined `data` lines; None where there is none (a comment, a ping)."""
        raw = self.raw
        if raw.startswith(b"data: ") and raw.find(b"\n") == len(raw) - 2 and b"\r" not in raw:
            return raw[6:-2]  # nearly always: one line, which a blank one ends
        return self._field(b"data", joined=True)

    @property
    def name(self) -> bytes | None:
        """The `event` field; None where there is none."""
        return self._field(b"event", joined=False)

    @property
    def comment_only(self) -> bool:
        """True where no field is set: comments and blank lines alone."""
        lines = LINE_END.split(self.raw.removeprefix(BOM))
        return all(not line or line.startswith(b":") for line in lines)

    def _field(self, name: bytes, *, joined: bool) -> bytes | None:
        values = []
        for line in LINE_END.split(self.raw.removeprefix(BOM)):
            field, _, value = line.partition(b":")
            if field == name:
                values.append(value.removeprefix(b" "))
        if not values:
            return None
        return b"\n".join(values) if joined else values[-1]


class Decoder:
    """Cuts a stream into events, however the stream is cut itself."""

    def __init__(self, longest: int = LONGEST_EVENT) -> None:
        self._buffer = b""
        self._longest = longest

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that are whole after `chunk`. Raises TooLong."""
        return split(self.block(chunk))

    def block(self, chunk: bytes) -> bytes:
        """The same as they came, in one piece, for who need not look at each. Raises TooLong."""
        if not self._buffer and chunk.endswith(b"}\n\n") and b"\r" not in chunk:
            return chunk  # nearly always: JSON, and nothing after it
        known = len(self._buffer)
        buffer = self._buffer + chunk if known else chunk
        end = _end_of_whole(buffer, known)
        self._buffer = buffer[end:]
        self._check_length()
        return buffer if end == len(buffer) else buffer[:end]

    def _check_length(self) -> None:
        if len(self._buffer) > self._longest:
            raise TooLong

    def finish(self) -> list[Event]:
        """What is left at the end of the stream: an event that lacks its blank line, if it has any line.

        WHATWG drops it; providers forget the last blank line, so it counts here, its raw bytes completed.
        """
        rest, self._buffer = self._buffer, b""
        if not rest.strip():
            return [Event(rest)] if rest else []
        if BLANK_LINE.search(rest[-2:]):
            return [Event(rest)]
        # After a CR alone one LF would only complete that line's end.
        return [Event(rest + (b"\n" if rest.endswith(b"\n") else b"\n\n"))]


def split(block: bytes) -> list[Event]:
    """The events of a block that holds whole ones alone."""
    if b"\r" not in block:  # nearly always: then two line feeds are the one way to end an event
        return [Event(each + b"\n\n") for each in block.split(b"\n\n")[:-1]]
    events: list[Event] = []
    start = 0
    for found in BLANK_LINE.finditer(block):
        events.append(Event(block[start : found.end()]))
        start = found.end()
    return events


def _end_of_whole(buffer: bytes, known: int) -> int:
    """Where the last whole event ends; in the first `known` bytes none does."""
    if b"\r" not in buffer:
        end = buffer.rfind(b"\n\n") + 2
        if end > 2 and buffer[end - 3] == LF:  # of an odd number of line feeds the last begins the next event
            end -= (end - len(buffer[:end].rstrip(b"\n"))) % 2
        return end if end > 1 else 0
    end = 0
    # A blank line may have begun in the last three bytes before this chunk (CRLF CR | LF).
    for found in BLANK_LINE.finditer(buffer, max(0, known - 3)):
        if found.end() == len(buffer) and buffer.endswith(b"\r"):
            break  # LF may follow: then it belongs to this blank line
        end = found.end()
    return end


def encode(data: bytes, name: bytes | None = None) -> bytes:
    """An event with `data`; a line feed in it begins another `data` line."""
    head = b"event: " + name + b"\n" if name else b""
    return head + b"".join(b"data: " + line + b"\n" for line in data.split(b"\n")) + b"\n"
