"""Programs as child processes: started, waited for until they answer, and ended with all their children."""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.waiting import answers, eventually

_PATIENCE = 10


class Program:
    """A running child process in a process group of its own; its output goes to files."""

    def __init__(self, command: Sequence[str | Path], cwd: Path, env: Mapping[str, str], name: str) -> None:
        self.command = [str(part) for part in command]
        self.name, self._stderr = name, cwd / f"{name}.stderr"
        with (cwd / f"{name}.stdout").open("ab") as out, self._stderr.open("ab") as err:
            self._process = subprocess.Popen(
                self.command,
                cwd=cwd,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def log(self) -> str:
        """All that it wrote to stderr so far."""
        return self._stderr.read_text(errors="replace")

    @property
    def status(self) -> int | None:
        """The exit status, None while it runs."""
        return self._process.poll()

    def wait_for(self, url: str, seconds: float = 90) -> None:
        """Wait until `url` answers; AssertionError with the log if it ends before or does not."""
        eventually(lambda: self.status is not None or answers(url), seconds, f"{url} of {self.name}")
        if self.status is not None:
            raise AssertionError(f"{self.name} ended with status {self.status}:\n{self.log}")

    def stop(self, seconds: float = _PATIENCE) -> int:
        """SIGTERM, then wait; the exit status. SIGKILL after `seconds`."""
        if self.status is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
        self._end_group()
        return self._process.wait()

    def kill(self) -> None:
        """SIGKILL for it alone, as a crash would be; what it leaves behind ends with `stop`."""
        self._process.kill()
        self._process.wait()

    def _end_group(self) -> None:
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return


@contextmanager
def running(
    command: Sequence[str | Path], cwd: Path, env: Mapping[str, str], url: str, name: str = "program"
) -> Iterator[Program]:
    """Run a program until the block ends; the block begins when `url` answers."""
    program = Program(command, cwd, env, name)
    try:
        program.wait_for(url)
        yield program
    finally:
        program.stop()


def run(
    command: Sequence[str | Path], cwd: Path, env: Mapping[str, str], seconds: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, with nothing on stdin; it and its children are ended after `seconds`."""
    with subprocess.Popen(
        [str(part) for part in command],
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            raise AssertionError(f"{command[0]} took over {seconds:g} s:\n{out}\n{err}") from None
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)
