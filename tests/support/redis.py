"""A Redis of the test's own, from Debian's binary: started, killed and started again on one port."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from tests.support.environment import clean_env, free_port, needs
from tests.support.processes import Program
from tests.support.waiting import eventually


class RedisServer:
    """Keeps nothing when it ends."""

    def __init__(self, folder: Path) -> None:
        self._binary = needs("redis-server", "apt-get install redis-server")
        self.folder, self.port = folder, free_port()
        self._program: Program | None = None

    @property
    def url(self) -> str:
        """What `access.redis` names."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it and wait until it answers."""
        words = ("--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
        env = clean_env(self.folder / "home")
        self._program = Program((self._binary, *words), self.folder, env, "redis")
        eventually(self._answers, what="Redis")

    def kill(self) -> None:
        """SIGKILL."""
        assert self._program is not None
        self._program.kill()

    def stop(self) -> None:
        """End it."""
        if self._program is not None:
            self._program.stop()

    def _answers(self) -> bool:
        with redis.Redis.from_url(self.url) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False


@contextmanager
def redis_server(folder: Path) -> Iterator[RedisServer]:
    """A Redis until the block ends."""
    server = RedisServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()
