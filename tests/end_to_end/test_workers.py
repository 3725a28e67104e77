"""Several workers on one port: one that dies takes only its own streams along, a stop cuts none."""

import http.client
import json
import os
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.bridge import Bridge
from tests.support.gates import Gate
from tests.support.raw import (
    JSON_TYPE,
    STREAM,
    STREAM_HEAD,
    RawUpstream,
    Talk,
    answer_plainly,
    ask,
    connection,
    piece,
    raw_upstream,
    read_response,
    request,
    send,
)
from tests.support.waiting import answers, eventually

STREAMS = 200 if os.environ.get("AIBRIDGE_SOAK") else 24
BEGUN = STREAM.index(b"\n\n") + 2
QUESTION = json.dumps(
    {"model": "m-1", "messages": [], "stream": True, "stream_options": {"include_usage": True}}
).encode()


class Stream:
    """A stream whose first event has come."""

    def __init__(self, port: int, stack: ExitStack) -> None:
        self._client: socket.socket = stack.enter_context(connection(port))
        self._client.sendall(request(port, QUESTION, [JSON_TYPE]))
        self._response = stack.enter_context(http.client.HTTPResponse(self._client))
        self._response.begin()
        assert self._response.read(BEGUN) == STREAM[:BEGUN]

    def rest(self) -> bytes | None:
        """What follows to the end; None where it was cut."""
        try:
            return self._response.read()
        except (http.client.IncompleteRead, OSError):
            return None


@contextmanager
def held() -> Iterator[tuple[Gate, RawUpstream]]:
    """An upstream whose streams go on after their first event when the gate opens."""

    def half(talk: Talk) -> None:
        talk.send(STREAM_HEAD, piece(STREAM[:BEGUN]))
        gate.pass_through()
        talk.send(piece(STREAM[BEGUN:]), piece(b""))

    with Gate() as gate, raw_upstream(half) as upstream:
        yield gate, upstream


def serving(folder: Path, upstream: RawUpstream, workers: int, grace: str = "20s") -> Bridge:
    """A bridge with `workers`."""
    server = {"workers": workers, "shutdown_grace": grace}
    return Bridge(folder, {"upstreams": {"up": {"base_url": upstream.base_url}}, "server": server})


def pids(bridge: Bridge) -> dict[int, int]:
    """The processes of the workers by index, once all of two answer."""
    found: dict[int, int] = {}

    def all_found() -> bool:
        worker = bridge.readiness()["worker"]
        found[worker["index"]] = worker["pid"]
        return len(found) == int(worker["of"])

    eventually(all_found, 30, "an answer of each worker")
    return found


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stop_cuts_no_stream_that_ends_within_the_grace(workers: int, tmp_path: Path) -> None:
    with held() as (gate, upstream), serving(tmp_path, upstream, workers) as bridge, ExitStack() as stack:
        streams = [Stream(bridge.port, stack) for _ in range(STREAMS)]
        os.kill(bridge.program.pid, signal.SIGTERM)
        eventually(lambda: not answers(f"{bridge.url}/healthz"), what="the end of listening")
        gate.open()
        assert [stream.rest() for stream in streams] == [STREAM[BEGUN:]] * STREAMS
        eventually(lambda: bridge.program.status is not None, 20, "the end")
        assert (bridge.program.status, "Traceback" in bridge.log) == (0, False), bridge.log
        assert Counter(row["status"] for row in bridge.rows("exchanges")) == {"completed": STREAMS}


def test_a_killed_worker_takes_only_its_own_streams_along(tmp_path: Path) -> None:
    with held() as (gate, upstream), serving(tmp_path, upstream, 2) as bridge, ExitStack() as stack:
        before = pids(bridge)
        streams = [Stream(bridge.port, stack) for _ in range(STREAMS)]
        os.kill(before[0], signal.SIGKILL)
        eventually(lambda: pids(bridge)[0] != before[0], 30, "a new worker")
        assert pids(bridge)[1] == before[1]
        rows = eventually(lambda: _ended(bridge, "interrupted"), 20, "the takeover of the journal")
        gate.open()
        rests = [stream.rest() for stream in streams]
        cut = rests.count(None)
        assert 0 < cut < STREAMS and rests.count(STREAM[BEGUN:]) == STREAMS - cut
        assert rows == cut
        eventually(lambda: _ended(bridge, "completed") == STREAMS - cut, what="the records of the others")
        assert Stream(bridge.port, stack).rest() == STREAM[BEGUN:]
        assert bridge.stop() == 0
        assert _ended(bridge, "running") == 0
        assert '"worker": 1' in bridge.log and "a worker died" in bridge.log


def test_nobody_waits_for_a_worker_that_dies_again_and_again(tmp_path: Path) -> None:
    """From its fourth end in a row on it has a pause of seconds, in which the other one gets everything."""
    with raw_upstream(answer_plainly) as upstream, serving(tmp_path, upstream, 2) as bridge:
        steady = pids(bridge)[1]
        for _ in range(4):
            killed = pids(bridge)[0]
            os.kill(killed, signal.SIGKILL)
        eventually(lambda: _listeners(bridge.port) == 1, 30, "its socket's end")
        assert bridge.readiness()["worker"]["pid"] == steady
        assert pids(bridge)[0] != killed and _listeners(bridge.port) == 2


def test_a_scrape_tells_of_all_workers_whichever_answers(tmp_path: Path) -> None:
    with raw_upstream(answer_plainly) as upstream, serving(tmp_path, upstream, 2) as bridge:
        pids(bridge)
        for _ in range(10):
            assert ask(bridge.port).status == 200
        for _ in range(4):
            text = send(bridge.port, method="GET", path="/metrics").body.decode()
            samples = [each for family in text_string_to_metric_families(text) for each in family.samples]
            up = {each.labels["worker"]: each.value for each in samples if each.name == "aibridge_worker_up"}
            asked = [each.value for each in samples if each.name == "aibridge_upstream_attempts_total"]
            assert (up, len(asked), sum(asked)) == ({"0": 1, "1": 1}, 2, 10)


def test_workers_that_cannot_start_end_the_whole_with_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    config = {
        "upstreams": {"up": {"base_url": "http://127.0.0.1:9/v1"}},
        "server": {"workers": 2},
        "records": {"journal": str(tmp_path / "file")},
    }
    bridge = Bridge(tmp_path, config)
    with pytest.raises(AssertionError, match="ended with status 1"):
        bridge.start()
    [said] = [line for line in bridge.log.splitlines() if line.startswith("aibridge: ")]
    assert "(records.journal) cannot be used" in said
    assert "Traceback" not in bridge.log


def test_a_stop_that_is_sent_to_all_processes_is_one_stop(tmp_path: Path) -> None:
    with held() as (gate, upstream), serving(tmp_path, upstream, 2) as bridge, ExitStack() as stack:
        streams = [Stream(bridge.port, stack) for _ in range(STREAMS)]
        for pid, idle in _idle(bridge, stack).items():
            os.kill(pid, signal.SIGTERM)
            assert idle.recv(1) == b"", "it is being stopped"
        os.kill(bridge.program.pid, signal.SIGTERM)
        eventually(lambda: not answers(f"{bridge.url}/healthz"), what="the end of listening")
        gate.open()
        assert [stream.rest() for stream in streams] == [STREAM[BEGUN:]] * STREAMS
        eventually(lambda: bridge.program.status is not None, 20, "the end")
        assert bridge.program.status == 0


def _idle(bridge: Bridge, stack: ExitStack) -> dict[int, socket.socket]:
    """A connection to each of two workers, by its process, that waits for a next request."""
    found: dict[int, socket.socket] = {}
    for _ in range(100):
        client = stack.enter_context(connection(bridge.port))
        client.sendall(request(bridge.port, b"", method="GET", path="/readyz"))
        worker = read_response(client, "GET").json["worker"]
        found.setdefault(worker["pid"], client)
        if len(found) == worker["of"]:
            break
    return found


@pytest.mark.parametrize("workers", [1, 2])
def test_a_second_signal_ends_what_runs_at_once(workers: int, tmp_path: Path) -> None:
    with (
        held() as (_, upstream),
        serving(tmp_path, upstream, workers, "600s") as bridge,
        ExitStack() as stack,
    ):
        stream = Stream(bridge.port, stack)
        os.kill(bridge.program.pid, signal.SIGTERM)
        eventually(lambda: not answers(f"{bridge.url}/healthz"), what="the end of listening")
        os.kill(bridge.program.pid, signal.SIGINT)
        assert b"overloaded" in (stream.rest() or b"")
        eventually(lambda: bridge.program.status is not None, 20, "the end")
        assert bridge.program.status == 0
        assert bridge.ended()["status"] != "completed"


def test_workers_end_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    with raw_upstream(answer_plainly) as upstream, serving(tmp_path, upstream, 2) as bridge:
        pids(bridge)
        bridge.kill()
        eventually(lambda: not answers(f"{bridge.url}/healthz"), 20, "the end of the workers")


def _listeners(port: int) -> int:
    """How many sockets listen on `port`, whichever processes hold them."""
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return sum(row[3] == "0A" and row[1].endswith(f":{port:04X}") for row in rows)


def _ended(bridge: Bridge, status: str) -> int:
    return sum(row["status"] == status for row in bridge.rows("exchanges"))
