"""Bytes of the journal: entries framed by length and checksum. Pure.

A frame is `length, crc32` (little endian, 4 bytes each) and the payload. What an entry means is in
`entries`; files are in `journal` and `tail`.
"""

import struct
from zlib import crc32

HEADER = struct.Struct("<II")
LARGEST = (1 << 32) - 1


def frame(payload: bytes) -> bytes:
    """`payload` as one frame.

    Raises ValueError where it is empty (a run of zero bytes has to be no entry) or over 4 GiB.
    """
    if not 0 < len(payload) <= LARGEST:
        raise ValueError(f"a journal entry has 1 to {LARGEST} bytes, not {len(payload)}")
    return HEADER.pack(len(payload), crc32(payload)) + payload


def unframe(data: bytes) -> tuple[list[bytes], int]:
    """The whole entries at the start of `data`, and how many bytes they take.

    Ends before the first frame that is cut short or fails its checksum.
    """
    payloads: list[bytes] = []
    at = 0
    while at + HEADER.size <= len(data):
        length, checksum = HEADER.unpack_from(data, at)
        end = at + HEADER.size + length
        payload = data[end - length : end]
        if end > len(data) or not payload or crc32(payload) != checksum:
            break
        payloads.append(payload)
        at = end
    return payloads, at


def frame_end(data: bytes, at: int) -> int | None:
    """Where the frame at `at` ends by its header, maybe beyond `data`; None without a whole header."""
    if at + HEADER.size > len(data):
        return None
    length: int = HEADER.unpack_from(data, at)[0]
    return at + HEADER.size + length
