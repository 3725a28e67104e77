"""The listening sockets of several workers on one port; the supervisor keeps them, each worker takes its own.

On Linux each worker has a socket of its own (SO_REUSEPORT): the kernel spreads connections evenly by their
hash, where a shared one would give most to whichever process wakes first. All stay open, so that connections
wait for the successor of a worker that died; for one that has a long pause they would wait in vain. Elsewhere
the workers share one socket.
"""

import socket
import sys

from aibridge.cli.running import bind, url_of

APART = sys.platform == "linux"


class Listening:
    """The sockets, by the worker's index."""

    def __init__(self, host: str, port: int, workers: int) -> None:
        """Ends the program with a sentence where somebody else listens on `port`."""
        first = bind(host, port)
        self.url, self._host, self._port = url_of(first), host, first.getsockname()[1]
        if APART:
            first.close()  # the port was free; sockets that share it only share it with their like
        self._sockets = [self._bind() for _ in range(workers)] if APART else [first] * workers

    def _bind(self) -> socket.socket:
        return bind(self._host, self._port, shared=True)

    def __len__(self) -> int:
        return len(self._sockets)

    def of(self, index: int) -> socket.socket:
        """The socket of a worker, opened again where it was given up."""
        if self._sockets[index].fileno() < 0:
            self._sockets[index] = self._bind()
        return self._sockets[index]

    def give_up(self, index: int) -> None:
        """Let connections go to the other workers; those that wait for this one break, and come again."""
        others = [each for each in self._sockets if each is not self._sockets[index]]
        if any(each.fileno() >= 0 for each in others):
            self._sockets[index].close()

    def take(self, index: int) -> socket.socket:
        """In the process of a worker: its own socket; those of the others are closed."""
        own = self._sockets[index]
        for each in self._sockets:
            if each is not own:
                each.close()
        return own

    def close(self) -> None:
        """Close all."""
        for each in self._sockets:
            each.close()
