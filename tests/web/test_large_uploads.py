"""Uploads that are far larger than what the bridge holds of them at a time."""

import hashlib
import os
import socket
from pathlib import Path

from tests.support.bridge import Bridge
from tests.support.raw import Talk, connection, raw_upstream, read_response, request, whole

MEGABYTES = 200 if os.environ.get("AIBRIDGE_SOAK") else 48
PIECE = bytes(range(256)) * 4096
ROOM = 24 << 20
"""Bytes that the process may grow by: buffers of two sockets, what the allocator keeps. It takes under 1 MB
of them, also where upstream or bridge stand still for a while; a body that is held would take all."""


def _resident(bridge: Bridge) -> int:
    """The most memory that the process ever had, in bytes."""
    lines = Path(f"/proc/{bridge.program.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))


def _send_all(client: socket.socket, bridge: Bridge, count: int) -> None:
    head = request(bridge.port, headers=[("content-type", "video/mp4")], path="/v1/files", length=False)
    length = f"\r\nContent-Length: {count * len(PIECE)}\r\n\r\n".encode()
    client.sendall(head.replace(b"\r\n\r\n", length))
    for _ in range(count):
        client.sendall(PIECE)


def test_a_large_file_is_never_held_whole(tmp_path: Path) -> None:
    digests: list[str] = []

    def answer(talk: Talk) -> None:
        digests.append(hashlib.sha256(talk.heard.body).hexdigest())
        talk.send(whole(b"{}"))

    with (
        raw_upstream(answer) as upstream,
        Bridge(tmp_path, {"upstreams": {"up": {"base_url": upstream.base_url}}}) as bridge,
    ):
        for count in (4, MEGABYTES):  # what the first request loads does not count, nor its record
            before = _resident(bridge)
            with connection(bridge.port) as client:
                _send_all(client, bridge, count)
                got = read_response(client)
            assert got.status == 200, got.body
            assert bridge.ended(got.header("x-aibridge-exchange-id"))["status"] == "completed"
        grown = _resident(bridge) - before
    assert digests[1] == hashlib.sha256(PIECE * MEGABYTES).hexdigest()
    assert grown < ROOM, f"{grown >> 20} MB for {MEGABYTES}"
