"""Connections that come together."""

import asyncio
import os
import resource
import socket
from typing import cast

import pytest
import uvloop

from aibridge.cli import accepting as accepting_module
from aibridge.cli.accepting import Accepting

TOGETHER = 64
TURNS = 4
"""Of the loop; uvloop by itself needs one for each connection."""
PATIENCE = 10.0


class Greeter(asyncio.Protocol):
    """Says hello, and has the connection closed."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A connection."""
        own = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        own.write(b"hello")
        own.close()


def listening() -> socket.socket:
    """A socket to connect to."""
    made = socket.create_server(("127.0.0.1", 0), backlog=2 * TOGETHER)
    made.setblocking(False)
    return made


def called(place: socket.socket) -> socket.socket:
    """A client's connection to it."""
    return socket.create_connection(place.getsockname(), PATIENCE)


def test_connections_that_come_together_are_taken_together() -> None:
    made: list[Greeter] = []

    def make() -> Greeter:
        made.append(Greeter())
        return made[-1]

    async def take() -> None:
        with listening() as place:
            server = await asyncio.get_running_loop().create_server(make, sock=place)
            accepting = Accepting(place, make)
            clients = [called(place) for _ in range(TOGETHER)]
            for _ in range(TURNS):
                await asyncio.sleep(0)
            assert len(made) == TOGETHER
            for client in clients:
                with client:
                    assert await asyncio.to_thread(client.recv, 5) == b"hello"
            await accepting.aclose()
            server.close()

    uvloop.run(take())


def test_what_comes_after_the_end_is_not_taken() -> None:
    async def take() -> None:
        with listening() as place:
            accepting = Accepting(place, Greeter)
            with called(place) as client:
                assert await asyncio.to_thread(client.recv, 5) == b"hello"
            await accepting.aclose()
            with called(place) as client:
                client.setblocking(False)
                for _ in range(TURNS):
                    await asyncio.sleep(0)
                with pytest.raises(BlockingIOError):
                    client.recv(5)

    uvloop.run(take())


def test_a_client_that_has_left_already_harms_nobody() -> None:
    async def take() -> None:
        with listening() as place:
            accepting = Accepting(place, Greeter)
            for _ in range(TOGETHER):
                called(place).close()
            with called(place) as client:
                assert await asyncio.to_thread(client.recv, 5) == b"hello"
            await accepting.aclose()

    uvloop.run(take())


def test_without_descriptors_the_loop_does_other_work_and_takes_connections_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def take() -> None:
        monkeypatch.setattr(accepting_module, "EXHAUSTED_FOR", 0.05)
        looks = 0
        with listening() as place:
            accepting = Accepting(place, Greeter)
            with called(place) as client:
                client.settimeout(PATIENCE)
                soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
                free = os.dup(client.fileno())
                os.close(free)
                resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
                try:
                    for _ in range(10 * TURNS):
                        looks += accepting.looking
                        await asyncio.sleep(0)
                finally:
                    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                assert looks <= TURNS
                assert await asyncio.to_thread(client.recv, 5) == b"hello"
            await accepting.aclose()

    uvloop.run(take())
