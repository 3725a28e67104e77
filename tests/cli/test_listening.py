"""The sockets of several workers: one that is given up gets no connection, and takes part again later."""

import socket
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import typer

from aibridge.cli.listening import Listening
from tests.support.environment import free_port

CONNECTIONS = 32
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere workers share one socket")


@pytest.fixture
def listening() -> Iterator[Listening]:
    made = Listening("127.0.0.1", free_port(), 2)
    yield made
    made.close()


def _spread(listening: Listening, port: int) -> Counter[int]:
    """How many of so many new connections each worker gets."""
    got: Counter[int] = Counter()
    with ExitStack() as stack:
        for _ in range(CONNECTIONS):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
        for index in range(2):
            while accepted := _accepted(listening.of(index)):
                stack.enter_context(accepted)
                got[index] += 1
    return got


def _accepted(listener: socket.socket) -> socket.socket | None:
    try:
        return listener.accept()[0]
    except BlockingIOError:
        return None


def test_connections_go_to_the_others_while_a_worker_is_given_up(listening: Listening) -> None:
    port = int(listening.url.rpartition(":")[2])
    both = _spread(listening, port)
    assert min(both[0], both[1]) > 0 and both.total() == CONNECTIONS
    with socket.create_connection(("127.0.0.1", port)):
        listening.give_up(0)
        with ExitStack() as stack:
            for _ in range(CONNECTIONS):
                stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            got = 0
            while accepted := _accepted(listening.of(1)):
                stack.enter_context(accepted)
                got += 1
        assert got >= CONNECTIONS, "all, and maybe the one from before"
    listening.of(0)
    again = _spread(listening, port)
    assert min(again[0], again[1]) > 0


def test_the_last_socket_is_never_given_up(listening: Listening) -> None:
    port = int(listening.url.rpartition(":")[2])
    listening.give_up(0)
    listening.give_up(1)
    with socket.create_connection(("127.0.0.1", port), timeout=10):
        pass
    with pytest.raises(typer.Exit):
        Listening("127.0.0.1", port, 2)


def test_a_worker_takes_its_own_alone(listening: Listening) -> None:
    others = listening.of(1)
    own = listening.take(0)
    assert own.fileno() >= 0 and others.fileno() < 0
