"""Programs on their cores: started, awaited, looked at, ended. Only what was started here is ended here."""

import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.contenders import Contender, Where
from bench.interpreter import ROOT

PROXY_CORE, OTHERS_CORE = "0", "1"
PATIENCE = 90.0
"""Seconds that a contender may take to start."""
SETTLING = 10.0
"""Seconds given to a contender to work off what a load that was cut off left behind."""
TICKS = os.sysconf("SC_CLK_TCK")


class DidNotStart(Exception):
    """A contender that cannot be measured, with the reason."""


@dataclass(slots=True)
class Running:
    """A contender that takes requests at `port`."""

    contender: Contender
    where: Where
    program: subprocess.Popen[bytes] | None
    startup: float
    """Seconds from its start to the first 200."""

    @property
    def port(self) -> int:
        """Where it takes requests: the upstream itself for the direct way."""
        return self.where.port if self.program else self.where.upstream

    def pids(self) -> list[int]:
        """Its processes."""
        return _family(self.program.pid) if self.program else []

    def settle(self) -> None:
        """Wait until it is quiet."""
        end = time.monotonic() + SETTLING
        while (pids := self.pids()) and time.monotonic() < end:
            before = sum(_ticks(pid) for pid in pids)
            time.sleep(0.2)
            if sum(_ticks(pid) for pid in pids) - before <= 0.02 * TICKS:
                return

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """One request; gives status and body, status 0 where there is no answer."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)) as connection:
            try:
                connection.request(method, path, body, {"content-type": "application/json"})
                response = connection.getresponse()
                return response.status, response.read()
            except (OSError, http.client.HTTPException):
                return 0, b""


def on_core(core: str, command: list[str]) -> list[str]:
    """`command`, pinned to `core` where there are two."""
    pins = shutil.which("taskset") and (os.cpu_count() or 1) > 1
    return ["taskset", "-c", core, *command] if pins else command


@contextlib.contextmanager
def upstream(program: Path) -> Iterator[tuple[int, int]]:
    """The mock upstream; gives its port and its pid."""
    command = on_core(OTHERS_CORE, [str(program), "0"])
    running = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert running.stdin is not None and running.stdout is not None
    try:
        yield int(running.stdout.readline()), running.pid
    finally:
        running.stdin.close()  # it ends with its input
        running.wait(10)
        running.stdout.close()


@contextlib.contextmanager
def started(contender: Contender, folder: Path, upstream_port: int) -> Iterator[Running]:
    """The contender, ready for requests, until the context is left. Raises DidNotStart."""
    where = Where(folder, _free_port(), upstream_port)
    if contender.command is None:
        yield Running(contender, where, None, 0.0)
        return
    folder.mkdir(parents=True, exist_ok=True)
    command = on_core("0,1" if contender.both_cores else PROXY_CORE, contender.command(where))
    with (folder / "log").open("wb") as log:
        begin = time.monotonic()
        program = subprocess.Popen(
            command,
            cwd=folder,
            env=_environment(contender.environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    running = Running(contender, where, program, 0.0)
    try:
        _await(running, begin)
        yield running
    finally:
        _end(running)


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    """What is of need, the project to import from, and no trace of the tester's own settings."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT), **extra}


def _await(running: Running, begin: float) -> None:
    """Until it answers 200, and where it tells of its parts, until all of them work."""
    assert running.program is not None
    name, ready = running.contender.name, running.contender.ready
    while time.monotonic() - begin < PATIENCE:
        status, body = running.ask("GET", ready)
        if status == 200:
            running.startup = running.startup or time.monotonic() - begin
            if ready != "/readyz" or json.loads(body)["status"] == "ready":
                return
        if running.program.poll() is not None:
            raise DidNotStart(
                f"{name} ended with status {running.program.returncode}: {_last_words(running)}"
            )
        time.sleep(0.005)
    raise DidNotStart(f"{name} was not ready within {PATIENCE:.0f} s: {_last_words(running)}")


def _last_words(running: Running) -> str:
    lines = (running.where.folder / "log").read_text(errors="replace").strip().splitlines()
    return lines[-1][:200] if lines else "it said nothing"


def _end(running: Running) -> None:
    assert running.program is not None
    family = running.pids()
    running.program.terminate()
    try:
        running.program.wait(10)
    except subprocess.TimeoutExpired:
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
        running.program.wait()


def _family(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += _family(int(child))
    return found


def _ticks(pid: int) -> int:
    """CPU time of a process, in clock ticks."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
