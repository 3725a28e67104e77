"""A stream flows from the upstream to the client as fast as the client takes it, and nothing is lost."""

import socket
import time
from datetime import datetime, timedelta
from pathlib import Path

from tests.support.bridged import bridged, configuration
from tests.support.raw import DONE, STREAM_HEAD, RawUpstream, Talk, asking, piece, read_response, said
from tests.support.waiting import eventually

EVENTS = [said(f"{number} " + "ü" * 20_000) for number in range(400)]
MILLISECOND = timedelta(milliseconds=1)
WHOLE = said("", role="assistant") + b"".join(EVENTS) + said(None, "stop") + DONE


def test_a_client_that_does_not_read_holds_the_upstream_up_and_gets_everything_later(
    upstream: RawUpstream, tmp_path: Path
) -> None:
    sent: list[int] = []

    def stream(talk: Talk) -> None:
        talk.send(STREAM_HEAD, piece(said("", role="assistant")))
        for number, each in enumerate(EVENTS):
            talk.send(piece(each))
            sent.append(number)
        talk.send(piece(said(None, "stop") + DONE), piece(b""))

    def held() -> bool:
        before = len(sent)
        time.sleep(0.1)  # only how often is looked
        return len(sent) == before > 0

    upstream.anew(stream)
    with bridged(tmp_path, configuration(tmp_path, upstream.base_url)) as bridge:
        with asking(bridge.port, stream=True) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
            eventually(held, what="an upstream that is held up")
            assert len(sent) < len(EVENTS)
            assert read_response(client).body == WHOLE
        row = bridge.ended()
        assert row["status"] == "completed"
        took = datetime.fromisoformat(row["ended_at"]) - datetime.fromisoformat(row["started_at"])
        assert 0 < row["overhead_ms"] < row["overhead_ms"] + row["upstream_ms"] < took / MILLISECOND
