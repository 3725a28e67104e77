"""A PostgreSQL of the tests' own: a cluster on a free port, which a test may stop, kill and start again."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from tests.support.environment import free_port, needs
from tests.support.waiting import eventually

_PLACES = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
_POSTGRES = _PLACES[-1] if _PLACES else Path("/usr/lib/postgresql/*/bin/postgres")
_FAST = ("-F", "-c", "synchronous_commit=off", "-c", "full_page_writes=off", "-c", "max_connections=60")
PASSWORD = "a-database-password"


class Cluster:
    """A server; it refuses to run as root, so it then runs as another user."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.port = folder, free_port()
        self._bin = needs(_POSTGRES, "install Debian's package postgresql").parent
        self._as = _other_user(folder)
        self._process: subprocess.Popen[bytes] | None = None
        self._run("initdb", "-D", f"{folder}/data", "-U", "postgres", "-A", "trust", "-E", "UTF8")
        self._made = 0

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [f"{self._bin}/postgres", "-D", f"{self._folder}/data", "-p", str(self.port)]
        command += ["-h", "127.0.0.1", "-k", str(self._folder), *_FAST]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, **self._as)
        eventually(self._answers, 30, "PostgreSQL's start")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT at once and in order, SIGQUIT as in a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None

    def pause(self) -> None:
        """It, and all its workers, stand still, as a machine that vanished from the network."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """They go on."""
        self._signal_all(signal.SIGCONT)

    def database(self) -> str:
        """A new database: its URL, with a password."""
        self._made += 1
        name = f"records{self._made}"
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return f"postgresql://postgres:{PASSWORD}@127.0.0.1:{self.port}/{name}"

    def dsn(self, name: str) -> str:
        """For psycopg."""
        return f"host=127.0.0.1 port={self.port} user=postgres dbname={name}"

    def _signal_all(self, how: signal.Signals) -> None:
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        for pid in [self._process.pid, *map(int, children)]:
            os.kill(pid, how)

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"PostgreSQL ended:\n{(self._folder / 'log').read_text()}")
        try:
            psycopg.connect(self.dsn("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, program: str, *arguments: str) -> None:
        command = [f"{self._bin}/{program}", *arguments, "--no-sync", "--no-locale"]
        subprocess.run(command, check=True, capture_output=True, **self._as)


def _other_user(folder: Path) -> dict[str, Any]:
    """How a program is started in `folder` as somebody who is not root."""
    env = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder), "LC_ALL": "C"}
    common = {"cwd": folder, "env": env}
    if os.getuid():
        return common
    user = pwd.getpwnam("nobody")
    os.chown(folder, user.pw_uid, user.pw_gid)
    return {**common, "user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


@contextmanager
def cluster() -> Iterator[Cluster]:
    """A running server; it and all its files are gone afterwards."""
    # Not below pytest's folder: that is for its user alone, and this may be another.
    folder = Path(tempfile.mkdtemp(prefix="aibridge-postgres-"))
    folder.chmod(0o755)
    server = None
    try:
        server = Cluster(folder)
        server.start()
        yield server
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)
