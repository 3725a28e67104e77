"""Several workers on one port: started, watched, started again and stopped by a process that serves nothing.

Each worker is forked with the product loaded, so that one that died is back at once. What they listen on is
left to `listening`.
"""

import contextlib
import gc
import os
import select
import shutil
import signal
import socket
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path

import structlog
import typer

from aibridge.app import create_app
from aibridge.cli.listening import Listening
from aibridge.cli.options import fail
from aibridge.cli.running import serve_with
from aibridge.cli.serving import Serving
from aibridge.config import Config, Source, keep_fixed
from aibridge.errors import ConfigError
from aibridge.telemetry import logging
from aibridge.web.peers import Worker

LIVED = 10.0
"""Seconds after which a worker that dies has lived well, and its successor starts at once."""
PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds before a worker starts again that died soon; doubled each time."""
PATIENCE = 2.0
"""Seconds of such a pause from which on connections do not wait for the worker."""
ENDING = 30.0
"""Seconds beyond the grace after which a worker that does not end is killed."""
HEARD = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD})
Read = Callable[[], Config]

log = structlog.get_logger(__name__)


def supervise(settings: Config, read: Read) -> None:
    """Serve with `settings.server.workers` processes until SIGTERM or Ctrl-C; `read` reads the file anew.

    Ends with status 1 and a sentence where a worker cannot start at all.
    """
    if not hasattr(os, "fork"):
        fail("server.workers above 1 needs a system with fork; run one worker here")
    listening = Listening(settings.server.host, settings.server.port, settings.server.workers)
    import_module("aibridge.records.opening")  # else every worker loads SQLAlchemy when it starts
    logging.configure(settings.telemetry.log, settings.secrets())
    if settings.bridge.recall == "memory":
        log.warning("bridge.recall memory: each worker only knows its own hidden turns; write on")
    folder = Path(tempfile.mkdtemp(prefix="aibridge-"))
    try:
        supervisor = Supervisor(settings, read, listening, folder)
        supervisor.listen_to_signals()  # who reads the next line may send one
        typer.echo(f"aibridge listens on {listening.url}; point clients at {listening.url}/v1", err=True)
        problem = supervisor.run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if problem is not None:
        fail(problem)


@dataclass(slots=True)
class _Child:
    """A worker's process."""

    index: int
    pid: int
    channel: socket.socket
    round: int
    """How often the configuration had been taken up when it was started."""
    started: float
    ready: bool = False
    said: bytes = b""


class Supervisor:
    """Looks after the workers."""

    def __init__(self, settings: Config, read: Read, listening: Listening, folder: Path) -> None:
        self._settings, self._read, self._listening, self._folder = settings, read, listening, folder
        self._children: dict[int, _Child] = {}
        self._due: dict[int, float] = {}
        """When workers are to be started, by index."""
        self._soon_dead = [0] * len(listening)
        self._served = [False] * len(listening)
        self._round = 0
        self._kill_at: float | None = None
        self._problem: str | None = None
        self._stopping = False
        self._awake, self._wakes = socket.socketpair()

    def run(self) -> str | None:
        """Until all workers have ended; the sentence why it could not serve, if so."""
        gc.freeze()  # what is loaded stays shared between the processes
        self._due[0] = 0.0  # the first one makes the database, and says what is wrong only once
        while self._children or not self._stopping:
            self._start_due()
            self._wait()
            self._reap()
            self._kill_late()
        return self._problem

    def listen_to_signals(self) -> None:
        """From now on signals are remembered for `run`."""
        self._awake.setblocking(False)
        self._wakes.setblocking(False)
        signal.set_wakeup_fd(self._wakes.fileno(), warn_on_full_buffer=False)
        for number in HEARD:
            signal.signal(number, lambda *_: None)

    def _wait(self) -> None:
        """Sleep until a signal, a word of a worker, or something is due."""
        times = [*self._due.values(), *([self._kill_at] if self._kill_at else [])]
        timeout = max(0.0, min(times) - time.monotonic()) if times else None
        channels = {child.channel: child for child in self._children.values()}
        readable, _, _ = select.select([self._awake, *channels], [], [], timeout)
        for each in readable:
            if each is self._awake:
                for number in self._awake.recv(4096):
                    self._signalled(number)
            else:
                self._hear(channels[each])

    def _signalled(self, number: int) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self._stop()
        elif number == signal.SIGHUP and not self._stopping:
            self._reload()

    def _stop(self) -> None:
        """Tell all workers to stop; a second time: at once."""
        if self._stopping:
            self._end_grace()
            return
        self._stopping = True
        self._due.clear()
        self._kill_at = time.monotonic() + self._settings.server.shutdown_grace + ENDING
        self._listening.close()
        self._tell_all(signal.SIGTERM)

    def _end_grace(self) -> None:
        """By their channels: a signal may have reached them already, sent to all processes of a group."""
        self._kill_at = time.monotonic() + ENDING
        for child in self._children.values():
            with contextlib.suppress(OSError):
                child.channel.send(b"now\n")

    def _reload(self) -> None:
        try:
            self._read_anew()
        except ConfigError as error:
            log.error("the configuration was not taken up", error=str(error))
            return
        self._tell_all(signal.SIGHUP)

    def _read_anew(self) -> None:
        """For later workers, which must not differ in what waits for a restart. Raises ConfigError."""
        self._settings, _ = keep_fixed(self._settings, self._read())
        self._round += 1

    def _tell_all(self, number: signal.Signals) -> None:
        for child in self._children.values():
            if child.ready or number == signal.SIGTERM:
                os.kill(child.pid, number)  # it is ours, and not reaped: the id is nobody else's

    def _hear(self, child: _Child) -> None:
        """What a worker says, line by line: `ready`, `reloaded`, or `failed` with a sentence."""
        with contextlib.suppress(OSError):
            child.said += child.channel.recv(65536)
        *lines, child.said = child.said.split(b"\n")
        for line in lines:
            word, _, rest = line.decode(errors="replace").partition(" ")
            if word == "ready":
                self._is_ready(child)
            elif word == "reloaded":
                with contextlib.suppress(ConfigError):
                    self._read_anew()
            elif word == "failed" and not self._served[child.index]:
                self._problem = self._problem or rest

    def _is_ready(self, child: _Child) -> None:
        child.ready = self._served[child.index] = True
        if child.round != self._round:
            os.kill(child.pid, signal.SIGHUP)
        if self._stopping:
            return
        running = {each.index for each in self._children.values()}
        for index in range(len(self._listening)):
            if index not in running and index not in self._due:
                self._due[index] = 0.0

    def _reap(self) -> None:
        for child in list(self._children.values()):
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid:
                self._hear(child)
                child.channel.close()
                del self._children[pid]
                if not self._stopping:
                    self._died(child, os.waitstatus_to_exitcode(status))

    def _died(self, child: _Child, status: int) -> None:
        """Start it again; end everything where it never could start."""
        if not self._served[child.index]:
            self._problem = self._problem or f"worker {child.index} could not start; the log says why"
            self._stop()
            return
        lived = child.ready and time.monotonic() - child.started > LIVED
        soon = self._soon_dead[child.index] = 0 if lived else self._soon_dead[child.index] + 1
        pause = min(PAUSE * 2 ** (soon - 2), LONGEST_PAUSE) if soon > 1 else 0.0
        log.error("a worker died; it is started again", worker=child.index, status=status, pause=pause)
        self._due[child.index] = time.monotonic() + pause
        if pause >= PATIENCE:
            self._listening.give_up(child.index)

    def _kill_late(self) -> None:
        if self._kill_at is not None and time.monotonic() > self._kill_at:
            log.error("workers that do not end are killed", workers=len(self._children))
            self._kill_at = None
            self._tell_late()

    def _tell_late(self) -> None:
        for child in self._children.values():
            os.kill(child.pid, signal.SIGKILL)

    def _start_due(self) -> None:
        now = time.monotonic()
        for index in [index for index, when in self._due.items() if when <= now]:
            del self._due[index]
            self._start(index)

    def _start(self, index: int) -> None:
        self._listening.of(index)
        ours, theirs = socket.socketpair()
        # A worker that has our handlers still would lose its stop, and pass it on to us as a second one.
        signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
        pid = os.fork()
        if pid == 0:
            self._become_worker(index, ours, theirs)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HEARD)
        theirs.close()
        ours.setblocking(False)
        self._children[pid] = _Child(index, pid, ours, self._round, time.monotonic())

    def _become_worker(self, index: int, ours: socket.socket, channel: socket.socket) -> None:
        """The child's whole life; it never returns into the supervisor's code."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            for number in (signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGTERM})  # until the server can hear it
            # Whoever holds these after the supervisor's death keeps the others from seeing it.
            for held in (ours, self._awake, self._wakes, *(each.channel for each in self._children.values())):
                held.close()
            worker = Worker(index, len(self._listening), self._folder)
            status = work(self._settings, self._read, worker, self._listening.take(index), channel)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)


def work(
    settings: Config, read: Read, worker: Worker, listening: socket.socket, channel: socket.socket
) -> int:
    """A worker, until it is told to stop; the status of its process."""
    set_up_log = partial(logging.configure, worker=worker.index)
    set_up_log(settings.telemetry.log, settings.secrets())
    source = Source(read, set_up_log, lambda: channel.sendall(b"reloaded\n"))
    app = create_app(settings, worker=worker, source=source)
    server = Serving(app, lambda: channel.sendall(b"ready\n"), channel)
    failure = serve_with(server, app, listening)
    if failure is not None:
        line = " ".join(failure.split())
        with contextlib.suppress(OSError):
            channel.sendall(f"failed {line}\n".encode())
    return 0 if failure is None else 1
